"""Services that change in the tables there are, while packets pass by them: no flow of another service is touched, and
none moves of one whose endpoint stays."""

from nat64d.config.endpoint_changes import changed, is_about_endpoints
from nat64d.config.fronts import change_fronts, fronts_of, handles_of, keys_of
from nat64d.config.models import Config
from nat64d.dataplane.worker import now
from nat64d.gateway.state import Live
from translator.session.members import KEEP, RESET
from translator.tables.gateway import Gateway, new_worker


def needs_other_tables(before: Config, after: Config) -> bool:
    """Whether something differs that the tables there are have no place for: what sessions carry, and of services
    prefixes of clients, sessions, or the handles of IPv6 addresses."""
    if before.log.accounting != after.log.accounting:
        return True
    if before.service == after.service:
        return False
    if before.prefixes != after.prefixes or before.is_stateful != after.is_stateful:
        return True
    handles = handles_of(after)
    return any(handles.get(address, number) != number for address, number in handles_of(before).items())


def keeps_settings(before: Config, after: Config) -> bool:
    """Whether nothing differs but services, and these not in their addresses: the settings stay what they are."""
    if is_about_endpoints(before, after):
        return True
    if needs_other_tables(before, after):
        return False
    addresses = [config.vips4 | config.vips6 for config in (before, after)]
    return addresses[0] == addresses[1] and before.model_copy(update={"service": after.service}) == after


def change_services(live: Live, config: Config) -> int:
    """Change the services of the tables to those of `config`; returns how many sessions have ended. Only one makes
    changes, with the lock of the endpoints. Raises NoRoomError: then nothing has changed."""
    assert live.settings is not None
    assert live.tables is not None
    gone, came = changed(live.config, config)
    wanted = dict.fromkeys(key for service in gone for key, _, _ in keys_of(live.config, service))
    fronts = wanted | fronts_of(config, live.endpoints.weight(config), came)
    gateway = Gateway(live.settings, live.tables, new_worker(0))
    fate = RESET if config.services.endpoint_gone == "reset" else KEEP
    return change_fronts(live.code.members, gateway, now(), fronts, fate)
