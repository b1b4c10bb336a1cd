"""The API server: which one it is, who we are to it, and what a refusal or a silence of it means."""

from pathlib import Path
from typing import Any

import httpx2
import msgspec
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User

from nat64d.kubernetes.objects import STATUS
from nat64d.kubernetes.pace import Pace

BUSY = 429  # HTTP
BY_PLUGIN = "client.authentication.k8s.io/"


class NoClusterError(Exception):
    """It is not known which API server is meant, or who we are; its text is one sentence."""


class AnswerError(Exception):
    """The API server has refused; `status` is that of HTTP, `wait` what it asks for, in seconds."""

    def __init__(self, status: int, sentence: str, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.status, self.wait = status, wait

    @property
    def is_final(self) -> bool:
        """Whether the same request will be refused again: it is wrong, and the server neither busy nor broken."""
        return 400 <= self.status < 500 and self.status not in {401, BUSY}


class HeldError(AnswerError):
    """A request was not sent, as the API server has asked to be left alone for so many seconds more."""

    def __init__(self, wait: float) -> None:
        super().__init__(BUSY, f"it is asked again in {wait:.0f} s, as it wants", wait)


def wait_of(response: Any) -> float:
    """The seconds that the API server asks for before the next request."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def refuse(response: Any, content: bytes) -> None:
    """Raise AnswerError unless the answer is what was asked for."""
    if response.status_code in {200, 201}:
        return
    try:
        sentence = STATUS.decode(content).message
    except msgspec.MsgspecError:
        sentence = content[:100].decode("utf-8", "replace")
    raise AnswerError(response.status_code, sentence, wait_of(response))


def configuration(kubeconfig: Path | None) -> SingleConfig:
    """That of a file; without one that of the Pod, of KUBECONFIG or of ~/.kube/config. Raises NoClusterError."""
    try:
        found = (KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()).get()
        assert found is not None, "it names no context"
        user = found.user or User()
        if user.exec and user.exec.apiVersion.startswith(BY_PLUGIN):
            user.exec.apiVersion = f"{BY_PLUGIN}v1beta1"  # the answer of a plugin of v1 is the same, and not taken
        return found._replace(user=user)
    except Exception as error:  # noqa: BLE001  a file may have anything in it
        raise _no_cluster(kubeconfig, error) from None


def _no_cluster(kubeconfig: Path | None, error: Exception) -> NoClusterError:
    where = kubeconfig or "neither a Pod, nor KUBECONFIG, nor ~/.kube/config"
    return NoClusterError(f"{where}: no way to an API server: {error}; give --kubeconfig FILE")


def client_of(kubeconfig: Path | None, pace: Pace) -> Any:
    """A client of the API server, with connections of its own; what is in files has been read anew. It sends the token
    of a file as the file has it when a request is refused (401). Raises NoClusterError."""
    found = configuration(kubeconfig)
    timeout = httpx2.Timeout(pace.answer, connect=pace.connect)
    try:
        given = ConnectionParams(timeout=timeout).httpx_params(found)
    except Exception as error:  # noqa: BLE001  certificates, too, are in files
        raise _no_cluster(kubeconfig, error) from None
    transport = httpx2.AsyncHTTPTransport(verify=given["verify"])
    return httpx2.AsyncClient(**{**given, "transport": transport})


def explained(error: BaseException) -> str:
    """What keeps us from the API server, as a clause."""
    match error:
        case AnswerError(status=401):
            return "it does not accept the token or certificate (401)"
        case AnswerError(status=403):
            return f"it does not allow this (403): {error}"
        case AnswerError():
            return f"it answers {error.status}: {error}"
        case httpx2.ConnectTimeout():
            return "no connection to it"
        case TimeoutError() | httpx2.TimeoutException():
            return "it does not answer"
        case httpx2.ConnectError():
            return f"no connection to it ({error})"
        case httpx2.RemoteProtocolError() | httpx2.ReadError():
            return "the connection has ended"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
