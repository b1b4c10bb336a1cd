// Asks the daemon again and again, and shows what it says.

import { draw, short } from "./charts.js";
import { explaining } from "./explain.js";
import { asked, count, fill, number, searchable, showHosts } from "./listings.js";

const EVERY = 2000; // milliseconds between two questions
const SERVICES = 30; // that are shown
const KEPT = 3600; // seconds of which totals are kept
const DONE = new Set(["translated", "hairpinned", "echoed"]);
const at = (id) => document.getElementById(id);

let columns = {}; // of a row of totals: index by name
let rows = []; // totals, oldest first
let counted = new Map(); // packets by verdict and direction at the last question
let flows = new Map(); // by service, then
let countedAt = 0;
let unit = "bits", minutes = 5;

const value = (row, name) => row[columns[name]];

// What a number grew by per second, between each two rows.
function rates(name, scale) {
  const points = [];
  for (let k = 1; k < rows.length; k += 1) {
    const seconds = value(rows[k], "seconds") - value(rows[k - 1], "seconds");
    if (seconds > 0) points.push([value(rows[k], "seconds"), (scale * (value(rows[k], name) - value(rows[k - 1], name))) / seconds]);
  }
  return points;
}

function drawn() {
  if (!rows.length) return;
  const end = value(rows.at(-1), "seconds"), what = unit === "bits" ? ["octets", 8, "bit/s"] : ["packets", 1, "/s"];
  const lines = [["up", "6to4"], ["down", "4to6"]].map(([name, way]) => ({ name, points: rates(`${what[0]}_${way}`, what[1]) }));
  const lost = rates("dropped", 1);
  if (unit === "packets") lines.push({ name: "lost", points: lost });
  draw(at("traffic-chart"), lines, { span: minutes * 60, end, unit: what[2] });
  draw(at("sessions-chart"), [{ name: "up", points: rows.map((row) => [value(row, "seconds"), value(row, "sessions")]) }], { span: minutes * 60, end, unit: "" });
  at("rate-6to4").textContent = short(lines[0].points.at(-1)?.[1] ?? 0, what[2]);
  at("rate-4to6").textContent = short(lines[1].points.at(-1)?.[1] ?? 0, what[2]);
  at("rate-dropped").textContent = short(lost.at(-1)?.[1] ?? 0, "packets/s");
}

function uptime(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).map(([size, name], k) => `${Math.floor(k ? (seconds % parts[first][0]) / size : seconds / size)} ${name}`).join(" ");
}

function showState({ state, version, uptime: up }) {
  const kind = state === "ready" ? "good" : state === "blocked" ? "bad" : "warn";
  at("state").textContent = state;
  at("state").className = `state ${kind}`;
  at("version").textContent = version;
  at("uptime").textContent = uptime(up);
  document.title = state === "ready" ? "nat64d" : `${state} – nat64d`;
}

function showProblems({ conditions, sentences, warnings }) {
  const texts = sentences.length ? sentences.map((row) => row.sentence) : conditions.map((row) => `${row.condition}: ${row.help}`);
  const items = [...texts, ...warnings].map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  at("problems").hidden = !items.length;
  at("problem-list").replaceChildren(...items);
}

function showPools(pools) {
  if (!pools.length) return;
  at("pools").replaceChildren(...pools.map((pool) => {
    const made = document.createElement("div"), line = document.createElement("p"), meter = document.createElement("meter");
    made.className = "pool";
    for (const text of [`${pool.addresses} ${pool.protocol}${pool.source ? ` for ${pool.source}` : ""}`, `${number(pool.used)} of ${number(pool.total)}`]) {
      const part = document.createElement("span");
      part.textContent = text;
      line.append(part);
    }
    Object.assign(meter, { min: 0, max: pool.total, high: 0.8 * pool.total, low: 0.6 * pool.total, optimum: 0, value: pool.used });
    meter.setAttribute("aria-label", `${pool.addresses} ${pool.protocol}`);
    made.append(line, meter);
    return made;
  }));
}

function showVerdicts(counters, now) {
  const next = new Map(), seconds = now - countedAt;
  const lines = counters.map((row) => {
    const key = `${row.verdict} ${row.direction}`, before = counted.get(key);
    next.set(key, row.packets);
    const rate = before === undefined || seconds <= 0 ? 0 : (row.packets - before) / seconds;
    const drop = !DONE.has(row.verdict);
    return { rate, row, kind: drop ? "drop" : "", cells: [row.verdict, row.direction, count(row.packets), { text: short(Math.round(rate)), class: "number" }, `${row.help} (${row.rfc})`] };
  });
  lines.sort((one, other) => other.row.packets - one.row.packets);
  fill(at("verdicts"), lines);
  counted = next;
  countedAt = now;
}

function showServices(services, now) {
  const next = new Map(), seconds = now - countedAt;
  const lines = services.map((row) => {
    const before = flows.get(row.service), rate = before === undefined || seconds <= 0 ? 0 : (row.flows - before) / seconds;
    next.set(row.service, row.flows);
    const ready = { text: `${number(row.ready)} of ${number(row.endpoints)}`, class: "number" };
    const kind = row.ready ? "" : "drop", rated = { text: short(Math.round(rate)), class: "number" };
    return { row, kind, cells: [row.service, ready, count(row.sessions), rated, count(row.flows), count(row.refused)] };
  });
  lines.sort((one, other) => Boolean(one.row.ready) - Boolean(other.row.ready) || other.row.sessions - one.row.sessions);
  fill(at("services"), lines.slice(0, SERVICES));
  at("services-section").hidden = !lines.length;
  at("services-more").hidden = lines.length <= SERVICES;
  at("services-more").textContent = `Those without an endpoint, and those with most sessions; ${number(lines.length - SERVICES)} more: nat64d services.`;
  flows = next;
}

function show(summary) {
  rows.push(summary.totals);
  const now = value(summary.totals, "seconds");
  if (rows.length > 1 && now < value(rows.at(-2), "seconds")) rows = [summary.totals]; // the daemon was started again
  rows = rows.filter((row) => value(row, "seconds") >= now - KEPT);
  showState(summary);
  showProblems(summary);
  showPools(summary.pools);
  showServices(summary.services, now);
  showVerdicts(summary.counters, now);
  fill(at("events"), summary.events.map((row) => ({ cells: [row.event, count(row.count), row.help] })));
  at("dns").hidden = !summary.queries.length;
  fill(at("queries"), summary.queries.map((row) => ({ cells: [row.outcome, count(row.queries), row.help] })));
  at("sessions-now").textContent = number(value(summary.totals, "sessions"));
  at("sessions-limit").textContent = number(summary.sessions_limit);
  at("inside").hidden = !summary.whole;
  at("outside").hidden = summary.whole;
  drawn();
}

function lost(error) {
  at("state").textContent = `no answer: ${error.message}`;
  at("state").className = "state bad";
  document.title = "no answer – nat64d";
}

async function ask() {
  const summary = await (await asked("page/summary.json")).json();
  show(summary);
  if (summary.whole && summary.state === "ready") await showHosts(at("hosts"));
}

async function forever() {
  for (;;) {
    try {
      if (!rows.length) {
        const history = await (await asked("page/history.json")).json();
        columns = Object.fromEntries(history.columns.map((name, k) => [name, k]));
        rows = history.rows;
      }
      await ask();
    } catch (error) {
      lost(error);
    }
    await new Promise((done) => setTimeout(done, EVERY));
  }
}

function chosen(key, take) {
  for (const button of document.querySelectorAll(`[data-${key}]`)) {
    button.addEventListener("click", () => {
      for (const other of document.querySelectorAll(`[data-${key}]`)) other.setAttribute("aria-pressed", String(other === button));
      take(button.dataset[key]);
      drawn();
    });
  }
}

chosen("unit", (text) => { unit = text; });
chosen("minutes", (text) => { minutes = Number(text); });
searchable(at("search"), at("sessions"), at("found"));
explaining(at("explain"), at("explanation"));
addEventListener("resize", drawn);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || at("inside").hidden || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  event.preventDefault();
  at("query").focus();
});
forever();
