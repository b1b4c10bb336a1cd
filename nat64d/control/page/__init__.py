"""The page: what flows, what is dropped and why, what is wrong, in a browser. Static files without anything from
elsewhere, and JSON.

`routes` serves it, `summary` is what it shows; `index.html`, `page.css` and the scripts are the page: `page.js` asks
again and again and fills it in, `charts.js` draws, `listings.js` has sessions and hosts, `explain.js` the explanation
of a packet. Scripts write text, never markup: names and addresses come from the network.
"""
