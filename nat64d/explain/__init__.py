"""`nat64d explain`: the way of one packet in words.

`command` is the command, `explainer` runs a packet through the translator's recorded walk, `live` asks for it inside a
copy of a running gateway; `packet_text` reads packets as people write them, `as_text` writes them so; `steps_text` has
the words for each `step`, `header_text` those for headers, `service_text` those about services; `other_steps` shows
steps that have no words yet. `fast_path` says whether a packet would come up to the daemon at all.
"""
