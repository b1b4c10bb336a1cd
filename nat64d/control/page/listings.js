// Tables, and the listings of the API that only the control socket serves.

const SHOWN = 200; // sessions, at most
const HOSTS = 15;

export const number = (value) => Math.round(value).toLocaleString("en").replaceAll(",", " ");

// Fill a table with rows of cells; a cell is text, or {text, class}.
export function fill(table, rows) {
  const lines = rows.map(({ cells, kind }) => {
    const line = document.createElement("tr");
    if (kind) line.className = kind;
    for (const cell of cells) {
      const made = document.createElement("td");
      made.textContent = cell.text ?? cell;
      if (cell.class) made.className = cell.class;
      line.append(made);
    }
    return line;
  });
  table.tBodies[0].replaceChildren(...lines);
}

export const count = (value) => ({ text: number(value), class: "number" });
const address = (text, port) => ({ text: port === undefined ? text : text.includes(":") ? `[${text}]:${port}` : `${text}:${port}`, class: "address" });

// The answer of the API to a question, or an Error with its sentence.
export async function asked(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  let sentence = `${answer.status} ${answer.statusText}`;
  try { sentence = (await answer.json()).error ?? sentence; } catch { /* no JSON: the status has to do */ }
  throw new Error(sentence);
}

async function lines(path) {
  const text = await (await asked(path)).text();
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

export async function showHosts(table) {
  const hosts = await lines(`v1/hosts?top=${HOSTS}`);
  fill(table, hosts.map((host) => ({
    cells: [address(host.host6), address(host.mapped4 ?? "–"), count(host.sessions), count(host.tcp), count(host.udp), count(host.icmp)],
  })));
}

function remaining(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export function searchable(form, table, said) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.className = "quiet";
    said.textContent = "Searching…";
    try {
      const text = form.elements.query.value.trim(), proto = form.elements.protocol.value;
      const filters = { limit: SHOWN + 1, ...(text && { host: text }), ...(proto && { proto }) };
      const found = await lines(`v1/sessions?${new URLSearchParams(filters)}`);
      const rows = found.slice(0, SHOWN);
      said.textContent = found.length > SHOWN ? `The first ${SHOWN} of more; 'nat64d sessions' lists all.` : found.length === 1 ? "1 session." : `${found.length} sessions.`;
      table.hidden = rows.length === 0;
      fill(table, rows.map((row) => ({
        cells: [row.protocol, address(row.host6, row.host6_port), address(row.mapped4, row.mapped4_port), address(row.host4, row.host4_port), row.state ?? "–", { text: remaining(row.expires_in), class: "number" }],
      })));
    } catch (error) {
      said.className = "bad";
      said.textContent = error.message;
      table.hidden = true;
    }
  });
}
