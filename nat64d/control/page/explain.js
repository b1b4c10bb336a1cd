// The box in which a packet is explained: what nat64d would do with it now.

import { asked } from "./listings.js";

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

function shown(explanation) {
  const steps = element("ol");
  for (const { step, rfc, found } of explanation.steps) {
    const item = element("li");
    item.append(element("strong", step), element("span", rfc ? ` (${rfc})` : ""));
    for (const line of found) item.append(element("pre", line));
    steps.append(item);
  }
  const end = element("p");
  end.append(element("strong", explanation.verdict), element("span", ` (${explanation.rfc}): ${explanation.help}`));
  return [steps, end];
}

export function explaining(form, place) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    place.replaceChildren(element("p", "Working…"));
    try {
      const body = form.elements.packet.value.trim();
      const answer = await asked("v1/explain", { method: "POST", headers: { "Content-Type": "text/plain" }, body });
      place.replaceChildren(...shown(await answer.json()));
    } catch (error) {
      const sentence = element("p", error.message);
      sentence.className = "bad";
      place.replaceChildren(sentence);
    }
  });
}
