"""An attacker that sends frames: `python -m tests.e2e.attack.flood DEVICE MAC DECK ARGUMENTS`, the last one as JSON.

Says "ready" once its frames are made. A line [SECONDS, RATE] on standard input makes it send them for so long, as fast
as it goes if the rate is 0, and print how many it sent in how many seconds.
"""

import json
import socket
import sys
import time

import numpy as np

from tests.e2e.attack.decks import DECKS
from tests.sendmmsg import Deck


def main(device: str, mac: str, deck: str, arguments: str) -> None:
    frames = DECKS[deck](**json.loads(arguments))
    frames[:, :6] = np.frombuffer(bytes.fromhex(mac.replace(":", "")), np.uint8)
    cards = Deck(frames)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, 0))
        print("ready", flush=True)
        for line in sys.stdin:
            seconds, rate = json.loads(line)
            start = time.monotonic()
            sent = cards.flood(raw.fileno(), seconds, rate)
            print(json.dumps({"sent": sent, "seconds": time.monotonic() - start}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
