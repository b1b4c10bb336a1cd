"""Attacks beside which quiet hosts must find the gateway as it always is.

`network` has the hosts, `scenarios` the table of attacks, `decks` and `flood` what the attackers send, `holders` those
who hold connections, `victim` the quiet hosts, and `stage` plays one scenario.
"""
