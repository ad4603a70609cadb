
"use strict";
/* The page of a Pangea daemon.  It reads /status, /metrics and /conflicts of its own daemon, and of the other regions' daemons where the
 * topology says that a browser reaches them; what they do not answer comes from its own daemon, which asks their databases.
 * One state, drawn anew in parts: a part is replaced only when it changed, so that focus and screen readers are left in peace. */

const EVERY_MS = 2000, PEERS_MS = 5000, KEEP_S = 900;
const LATE_S = 5, BAD_S = 60; // lag: from here on late, from here on bad

const $ = (id) => document.getElementById(id);
const state = {
  status: null, at: 0, failed: null,
  peers: {},     // region -> {history, metrics, at, failedAt}
  seen: {},      // region -> samples of this page, for regions that cannot be read directly
  conflicts: null, conflictsOf: "", conflictsError: "",
};

/* ---- small things --------------------------------------------------------------------------------------------------------------------- */
function h(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) if (v !== null && v !== undefined && v !== false) e.setAttribute(k, v === true ? "" : v);
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false).map((c) => (typeof c === "object" ? c : String(c))));
  return e;
}
function s(tag, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes || {})) if (v !== null && v !== undefined) e.setAttribute(k, v);
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined));
  return e;
}
/* What a person has in the hand stays there when a part is drawn anew: the focus, and what was unfolded. */
const HELD = "a, button, select, summary, [tabindex]";
function held(part, e) {
  const box = e.closest("[data-key]") || part;
  return { key: box.dataset.key, at: [...box.querySelectorAll(HELD)].indexOf(e) };
}
function again(part, { key, at }) {
  const box = key === undefined ? part : [...part.querySelectorAll("[data-key]")].find((e) => e.dataset.key === key);
  return box && box.querySelectorAll(HELD)[at];
}
/* The part's new content, unless it is what is there already. */
function show(id, ...nodes) {
  const part = $(id), fresh = h("div", {}, ...nodes), at = document.activeElement;
  if (part.dataset.shown === fresh.innerHTML) return;
  part.dataset.shown = fresh.innerHTML;
  const focus = part !== at && part.contains(at) ? held(part, at) : null;
  const unfolded = [...part.querySelectorAll("details[open] > summary")].map((e) => held(part, e));
  part.replaceChildren(...fresh.childNodes);
  for (const place of unfolded) again(part, place)?.parentElement.setAttribute("open", "");
  if (focus) again(part, focus)?.focus({ preventScroll: true });
}
function put(id, text, name) {
  const e = $(id);
  if (e.textContent !== text) e.textContent = text;
  if (name !== undefined && e.className !== name) e.className = name;
}
const isNumber = (v) => typeof v === "number" && Number.isFinite(v);
function span(sec) {
  if (!isNumber(sec)) return "unknown";
  if (sec < 0) sec = 0;
  if (sec < 10) return sec.toFixed(1) + " s";
  if (sec < 120) return Math.round(sec) + " s";
  if (sec < 7200) return Math.round(sec / 60) + " min";
  if (sec < 172800) return (sec / 3600).toFixed(1) + " h";
  return Math.round(sec / 86400) + " d";
}
function bytes(n) {
  if (!isNumber(n)) return "unknown";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let u = 0;
  while (n >= 10000 && u < 4) { n /= 1000; u++; }
  return Math.round(n) + " " + units[u];
}
const count = (n) => (isNumber(n) ? Math.round(n).toLocaleString("en") : "unknown");
const perSecond = (n) => (!isNumber(n) ? "unknown" : n < 10 ? n.toFixed(1) + "/s" : count(n) + "/s");
const since = (iso) => (iso ? (Date.now() - Date.parse(iso)) / 1000 : NaN);
/* A length of time that has not to be exact to the second: text that stays the same is not drawn anew. */
const coarse = (sec) => (!isNumber(sec) ? "" : sec < 60 ? "moments" : span(sec));

const LOOK = {
  running: ["good", "✓"], "catching up": ["warn", "»"], starting: ["warn", "…"], waiting: ["bad", "‖"], stopped: ["bad", "✕"],
  paused: ["warn", "‖"], unknown: ["muted", "?"], "no daemon": ["bad", "✕"], unreachable: ["bad", "✕"], "no init": ["bad", "✕"],
};
const look = (word) => LOOK[word] || LOOK.unknown;
const word = (w) => h("span", { class: "state " + look(w)[0] }, look(w)[1] + " " + w);

/* ---- what the status says --------------------------------------------------------------------------------------------------------------- */
const regions = () => (state.status ? state.status.regions : []);
function agentWord(r, agent) {
  if (!r.reachable) return "unreachable";
  if (!r.initialised) return "no init";
  const doc = r[agent];
  if (doc && doc.state === "stopped" && doc.error) return "stopped"; // it says nothing more, and that stays true
  if (!doc || !doc.alive) return "no daemon";
  return doc.state || "unknown";
}
/* Every way from a leader to another region. */
function ways() {
  const out = [];
  for (const from of regions()) {
    if (from.role !== "leader") continue;
    for (const to of regions()) {
      if (to === from) continue;
      const alive = to.reachable && to.apply && to.apply.alive;
      const o = alive ? (to.apply.origins || []).find((x) => x.origin === from.region) : null;
      const w = { from: from.region, to: to.region, state: o ? o.state : "unknown", o };
      w.lag = o && isNumber(o.lag_seconds) ? o.lag_seconds : NaN;
      w.why = o ? o.why || (o.waits_for ? "waits for " + o.waits_for : "") : !to.reachable ? to.error || "its database does not answer" : "no apply daemon in " + to.region;
      w.level = look(w.state)[0];
      if (w.level === "good") w.level = !isNumber(w.lag) ? "muted" : w.lag >= BAD_S ? "bad" : w.lag >= LATE_S ? "warn" : "good";
      const source = agentWord(from, "capture"); // what does not leave a region cannot be late yet, and is not well either
      w.since = o ? o.since : null;
      if ((look(source)[0] === "bad" || source === "paused") && w.state !== "stopped") {
        w.level = look(source)[0];
        w.state = source;
        w.since = from.capture ? from.capture.since : null;
        w.why = `nothing leaves ${from.region}: its capture agent: ${source}`;
      }
      out.push(w);
    }
  }
  return out;
}
function worst(r) {
  const order = ["good", "muted", "warn", "bad"];
  const agents = (r.role === "leader" ? ["capture", "apply"] : ["apply"]).map((a) => look(agentWord(r, a))[0]);
  return agents.reduce((a, b) => (order.indexOf(b) > order.indexOf(a) ? b : a));
}

/* ---- head ------------------------------------------------------------------------------------------------------------------------------- */
function drawHead() {
  const st = state.status;
  if (state.failed) {
    $("silent").hidden = false;
    put("silent", `The daemon of this page does not answer since ${new Date(state.failed).toLocaleTimeString()}. What follows is as it was then. Is it running?`);
  } else $("silent").hidden = true;
  if (!st) return;
  put("cluster", st.cluster);
  const n = st.problems.length, late = ways().filter((w) => w.level !== "good").length;
  if (state.failed) put("overall", "silent", "pill bad");
  else if (n) put("overall", `${n} ${n === 1 ? "thing needs" : "things need"} attention`, "pill bad");
  else if (late) put("overall", `${late} ${late === 1 ? "way is" : "ways are"} late`, "pill warn");
  else put("overall", "all moves", "pill good");
  document.title = `${n ? "(" + n + ") " : ""}Pangea ${st.cluster}`;
  $("attention").hidden = !n;
  show("problems", st.problems.map((p) => {
    const [what, todo] = p.split(". To do: ");
    return h("li", {}, what, todo ? [". ", h("strong", {}, "To do: "), todo] : "");
  }));
  put("foot", `Pangea ${st.version}, shown by the daemon of ${st.here}; asked every ${EVERY_MS / 1000} s.`);
}

/* ---- map ---------------------------------------------------------------------------------------------------------------------------------- */
const half = (w) => (w < 480 ? 54 : 72); // of a region's box
function place(i, n, w, height) {
  const turn = -Math.PI / 2 + (2 * Math.PI * i) / n, rx = w / 2 - half(w) - 4, ry = height / 2 - 48;
  if (n === 1) return { x: w / 2, y: height / 2 };
  if (n === 2) return { x: i ? w - half(w) - 6 : half(w) + 6, y: height / 2 };
  return { x: w / 2 + rx * Math.cos(turn), y: height / 2 + ry * Math.sin(turn) };
}
function arrow(w, a, b, width) {
  const dx = b.x - a.x, dy = b.y - a.y, d = Math.hypot(dx, dy) || 1, bend = Math.min(46, d * 0.16);
  const nx = -dy / d, ny = dx / d; // to the right of the way: there and back do not meet
  const c = { x: (a.x + b.x) / 2 + nx * bend, y: (a.y + b.y) / 2 + ny * bend };
  const edge = (p, q) => { // where the line from p to q leaves p's box
    const ex = q.x - p.x, ey = q.y - p.y, k = Math.min((half(width) + 6) / Math.abs(ex || 1e-9), 40 / Math.abs(ey || 1e-9), 0.9);
    return { x: p.x + ex * k, y: p.y + ey * k };
  };
  const from = edge(a, c), to = edge(b, c), t = 0.42; // the label is nearer to the origin, so that those of there and back differ in place
  const at = { x: (1 - t) ** 2 * from.x + 2 * t * (1 - t) * c.x + t * t * to.x, y: (1 - t) ** 2 * from.y + 2 * t * (1 - t) * c.y + t * t * to.y };
  const mark = w.state === "running" ? "" : look(w.state)[1] + " ";
  const text = mark + (w.o ? span(w.lag) : w.state), wide = text.length * 7.6 + 10;
  return [
    s("path", { class: `way s-${w.level}`, d: `M${from.x.toFixed(1)} ${from.y.toFixed(1)} Q${c.x.toFixed(1)} ${c.y.toFixed(1)} ${to.x.toFixed(1)} ${to.y.toFixed(1)}`, "marker-end": `url(#head-${w.level})` }),
    s("g", { class: "tag" }, s("rect", { x: at.x - wide / 2, y: at.y - 10, width: wide, height: 20, rx: 4 }),
      s("text", { class: `f-${w.level}`, x: at.x, y: at.y + 5, "font-size": 13 }, text)),
  ];
}
function node(r, p, width) {
  const words = (r.role === "leader" ? ["capture", "apply"] : ["apply"]).map((a) => [a, agentWord(r, a)]);
  const same = words.every(([, w]) => w === words[0][1]);
  const second = same ? look(words[0][1])[1] + " " + words[0][1] : words.map(([a, w]) => `${a} ${look(w)[1]}`).join("  ");
  return s("g", { class: "node" }, s("a", { href: "#region-" + r.region, "aria-label": `${r.region}, ${r.role}: ${words.map(([a, w]) => a + " " + w).join(", ")}` },
    s("rect", { class: "s-" + worst(r), x: p.x - half(width), y: p.y - 34, width: 2 * half(width), height: 68, rx: 10 }),
    s("text", { x: p.x, y: p.y - 12, "font-size": 17, "font-weight": 700 }, r.region),
    s("text", { class: "muted", x: p.x, y: p.y + 6, "font-size": 12 }, r.role),
    s("text", { x: p.x, y: p.y + 24, "font-size": 13 }, second)));
}
function drawMap() {
  const list = regions(), all = ways();
  const zoom = parseFloat(getComputedStyle(document.documentElement).fontSize) / 15; // letters grow with the page's
  const w = Math.max(280, ($("map-body").clientWidth || 600) / zoom), height = list.length < 3 ? 180 : Math.min(520, Math.max(290, w * 0.3));
  const points = list.map((_, i) => place(i, list.length, w, height)), ys = points.map((p) => p.y), low = Math.min(...ys), high = Math.max(...ys);
  if (high > low) for (const p of points) p.y = 44 + ((p.y - low) / (high - low)) * (height - 122); // the whole height is used; room for an arc below
  const places = Object.fromEntries(list.map((r, i) => [r.region, points[i]]));
  const heads = ["good", "warn", "bad", "muted"].map((l) => s("marker", { id: "head-" + l, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 13, markerHeight: 13, markerUnits: "userSpaceOnUse", orient: "auto" },
    s("path", { class: "f-" + l, d: "M0 0L10 5L0 10z" })));
  show("map-body", s("svg", { viewBox: `0 0 ${w.toFixed(0)} ${height.toFixed(0)}`, role: "group", "aria-label": "Regions and the ways between them; the table below says the same" },
    s("defs", {}, heads), all.map((x) => arrow(x, places[x.from], places[x.to], w)), list.map((r) => node(r, places[r.region], w))));
  put("legend", `A line's number is its lag. ✓ running, » catching up, ‖ waiting, ✕ stopped, ? unknown. Late from ${LATE_S} s, bad from ${BAD_S} s on.`);
}

/* ---- ways ----------------------------------------------------------------------------------------------------------------------------------- */
function drawWays() {
  const rows = ways().map((w) => h("tr", {}, h("th", { scope: "row" }, `${w.from} → ${w.to}`), h("td", {}, word(w.state)),
    h("td", {}, w.since && w.state !== "running" ? coarse(since(w.since)) : ""),
    h("td", { class: "n " + (w.level === "muted" ? "muted" : w.level) }, w.o ? span(w.lag) : "unknown"),
    h("td", { class: "n" }, w.o ? count(w.o.lag_records) : ""), h("td", { class: "n" }, w.o ? bytes(w.o.lag_bytes) : ""),
    h("td", { class: "n" }, w.o ? count(w.o.transactions) : ""), h("td", { class: "n" }, w.o ? count(w.o.conflicts) : ""),
    h("td", { class: "why" }, w.why, w.o && w.o.todo && !w.why.includes(w.o.todo) ? [" ", h("strong", {}, "To do: "), w.o.todo] : "")));
  show("ways-body", h("table", {}, h("thead", {}, h("tr", {}, ["Way", "State", "For"].map((t) => h("th", { scope: "col" }, t)),
    ["Lag", "Records", "Bytes", "Transactions", "Conflicts"].map((t) => h("th", { scope: "col", class: "n" }, t)), h("th", { scope: "col" }, "Why"))), h("tbody", {}, rows)));
}

/* ---- the last 15 minutes ----------------------------------------------------------------------------------------------------------------------- */
function chart(title, unit, at, lines) {
  const W = 380, H = 120, left = 46, bottom = 16, end = Date.now() / 1000, begin = end - KEEP_S;
  const known = lines.flatMap((l) => l.values).filter(isNumber), top = Math.max(unit === span ? 2 : 1, ...known);
  const x = (t) => left + ((t - begin) / KEEP_S) * (W - left), y = (v) => H - bottom - (v / top) * (H - bottom - 8);
  const drawn = lines.map((l) => { // a gap where nothing is known
    const runs = [[]];
    l.values.forEach((v, i) => { if (!isNumber(v)) runs.push([]); else if (at[i] >= begin) runs[runs.length - 1].push(`${x(at[i]).toFixed(1)},${y(v).toFixed(1)}`); });
    return runs.filter((r) => r.length).map((r) => s("polyline", { points: r.join(" "), class: "l" + l.color }));
  });
  const says = lines.map((l) => { const k = l.values.filter(isNumber); return k.length ? `${l.name}: now ${unit(k[k.length - 1])}, highest ${unit(Math.max(...k))}` : `${l.name}: nothing known`; }).join("; ");
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("strong", {}, title), lines.map((l) => h("span", { class: "key k" + l.color }, `${l.name} ${unit(l.values.filter(isNumber).pop())}`))),
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}, last 15 minutes. ${says}` },
      [0, 0.5, 1].map((k) => [s("line", { x1: left, x2: W, y1: y(top * k), y2: y(top * k) }), s("text", { x: left - 4, y: y(top * k) + 4, "text-anchor": "end" }, unit(top * k))]).flat(),
      [15, 10, 5, 0].map((m) => s("text", { x: x(end - m * 60), y: H - 3, "text-anchor": m === 15 ? "start" : m ? "middle" : "end" }, m ? `-${m} min` : "now")), drawn));
}
function historyOf(region) {
  if (state.status.here === region) return state.status.history;
  const p = state.peers[region];
  return p && p.history && Date.now() - p.at < 4 * PEERS_MS ? p.history : state.seen[region];
}
/* What this browser misses of a region whose daemon runs; null: nothing. */
function unreached(region) {
  const p = state.peers[region], known = state.status.topology.regions[region];
  if (!p || !p.failedSince) return null;
  return [`This browser does not reach the daemon of ${region} at ${known.http.url} since ${new Date(p.failedSince).toLocaleTimeString()}: ${p.failedWhy}. `,
    `What its database says is shown, through the daemon of ${state.status.here}; its own metrics are missing. `, h("strong", {}, "To do: "),
    `let browsers through to that address, or name one that they reach: regions.${region}.http.url.`];
}
function drawTime() {
  const color = Object.fromEntries(regions().map((r, i) => [r.region, i % 6]));
  show("time-body", regions().map((r) => {
    const t = historyOf(r.region), title = h("h3", {}, r.region);
    if (!t || t.at.length < 2) return h("div", { class: "card" }, title, h("p", { class: "muted" }, "Nothing known yet."));
    const names = Object.keys(t.lag_seconds).filter((n) => regions().some((x) => x.region === n && x.role === "leader"));
    const lag = names.map((n) => ({ name: "from " + n, color: color[n] || 0, values: t.lag_seconds[n] }));
    const moved = names.map((n) => ({ name: "applied from " + n, color: color[n] || 0, values: t.applied_per_second[n] }));
    if (r.role === "leader") moved.push({ name: "published", color: color[r.region], values: t.published_per_second });
    return h("div", { class: "card" }, title, chart("Lag", span, t.at, lag), chart("Transactions", perSecond, t.at, moved),
      t.own ? h("p", { class: "muted" }, "Since this page was opened: its daemon cannot be read from here" + (unreached(r.region) ? " (see Regions)." : ".")) : "");
  }));
}
/* What this page itself has seen of the regions that it cannot read. */
function sample() {
  const now = Date.now() / 1000;
  for (const r of regions()) {
    if (r.region === state.status.here) continue;
    const t = (state.seen[r.region] = state.seen[r.region] || { own: true, at: [], lag_seconds: {}, applied_per_second: {}, published_per_second: [], last: null });
    const alive = r.reachable && r.apply && r.apply.alive, last = t.last, seen = { at: now, applied: {} };
    if (last && now - last.at < 4.5) continue;
    const rate = (after, before) => (last && isNumber(after) && isNumber(before) && after >= before ? (after - before) / (now - last.at) : null);
    t.at.push(now);
    for (const o of regions().filter((x) => x.role === "leader" && x !== r)) {
      const w = alive ? (r.apply.origins || []).find((x) => x.origin === o.region) : null;
      const lags = (t.lag_seconds[o.region] = t.lag_seconds[o.region] || []), applied = (t.applied_per_second[o.region] = t.applied_per_second[o.region] || []);
      seen.applied[o.region] = w ? w.transactions : null;
      lags.push(w ? w.lag_seconds : null);
      applied.push(rate(seen.applied[o.region], last ? last.applied[o.region] : null));
    }
    seen.published = r.capture && r.capture.alive ? r.capture.transactions : null;
    t.published_per_second.push(rate(seen.published, last ? last.published : null));
    t.last = seen;
    for (const list of [t.at, t.published_per_second, ...Object.values(t.lag_seconds), ...Object.values(t.applied_per_second)]) while (list.length > KEEP_S / 4) list.shift();
  }
}

/* ---- conflicts ------------------------------------------------------------------------------------------------------------------------------------ */
const cell = (v) => (v === undefined ? h("span", { class: "muted" }, "–") : v === null ? h("span", { class: "muted" }, "NULL") : typeof v === "object" ? JSON.stringify(v) : String(v));
const hlcTime = (hlc) => new Date(hlc / 1000).toISOString().replace("T", " ").slice(0, 23);
function images(c) {
  const lost = c.loser || {}, stands = c.stands || {}, columns = [...new Set([...Object.keys(stands), ...Object.keys(lost)])];
  const head = (what, note) => h("th", { scope: "col" }, what, h("br"), h("span", { class: "muted" }, note));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "The version that lost beside the row that stands" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Column"), head(c.loser_is_delete ? "Lost: a delete" : "Lost", `${c.region}, ${hlcTime(c.hlc)}`),
      head(c.stands ? "Stands now" : "Stands now: no row", c.winner ? `won: ${c.winner.region}` : ""))),
    h("tbody", {}, columns.map((k) => h("tr", { class: JSON.stringify(lost[k]) !== JSON.stringify(stands[k]) ? "differs" : null },
      h("th", { scope: "row" }, k), h("td", {}, c.loser_is_delete ? "" : cell(lost[k])), h("td", {}, c.stands ? cell(stands[k]) : ""))))));
}
function conflict(c) {
  const key = c.key ? Object.entries(c.key).map(([k, v]) => `${k} = ${v}`).join(", ") : "";
  return h("article", { class: "conflict", "data-key": c.id }, h("h3", {}, `${c.table} `, h("span", { class: "muted" }, key)),
    h("p", {}, `${c.kind.replaceAll("_", " ")}; rule ${c.rule.replaceAll("_", " ")}; `, c.winner ? `won: ${c.winner.region}` : "", h("span", { class: "muted" }, `, recorded ${c.at.replace("T", " ").replace("Z", "")} UTC`)),
    c.rows_shown ? images(c) : h("p", { class: "muted" }, "The rows are not shown at this address (http.rows in the topology)."),
    h("p", { class: "command" }, h("span", {}, "To undo it:"), h("code", {}, c.command), h("button", { type: "button", "data-copy": c.command }, "Copy")),
    c.undo ? h("details", {}, h("summary", {}, "as a statement"), h("pre", { tabindex: "0" }, c.undo)) : "");
}
function drawConflicts() {
  const here = $("where"), names = regions().map((r) => r.region);
  if ([...here.options].map((o) => o.value).join() !== names.join()) {
    here.replaceChildren(...names.map((n) => h("option", { value: n }, n)));
    here.value = state.conflictsOf = state.conflictsOf || state.status.here;
  }
  if (state.conflictsError) show("conflicts-body", h("p", { class: "notice bad" }, state.conflictsError));
  else if (!state.conflicts) show("conflicts-body", h("p", { class: "muted" }, "asking"));
  else if (!state.conflicts.length) show("conflicts-body", h("p", { class: "muted" }, `No version has lost in ${state.conflictsOf}.`));
  else show("conflicts-body", state.conflicts.map(conflict));
}

/* ---- tables, regions, topology ---------------------------------------------------------------------------------------------------------------------- */
function metricRows(metrics, name, label) {
  const out = {};
  for (const m of metrics || []) if (m.name === name) out[m.labels[label]] = (out[m.labels[label]] || 0) + m.value;
  return out;
}
function drawTables() {
  const here = state.status.here, all = {};
  const of = (t) => (all[t] = all[t] || { rows: {}, conflicts: {}, waits: [] });
  for (const r of regions()) {
    const m = r.region === here ? state.metrics : (state.peers[r.region] || {}).metrics;
    for (const [t, n] of Object.entries(metricRows(m, "pangea_apply_table_rows_total", "table"))) of(t).rows[r.region] = n;
    for (const [t, n] of Object.entries(metricRows(m, "pangea_conflicts_total", "table"))) of(t).conflicts[r.region] = n;
    for (const w of (r.capture && r.capture.tables_waiting) || []) of(w.table).waits.push(`${r.region}: ${w.why || "waits"}${w.todo ? ". To do: " + w.todo : ""}`);
  }
  const each = (o) => Object.entries(o).map(([r, n]) => `${r} ${count(n)}`).join(", ") || "0";
  const rows = Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)).map(([t, v]) => h("tr", {}, h("th", { scope: "row" }, t), h("td", {}, each(v.rows)), h("td", {}, each(v.conflicts)),
    h("td", { class: "why" + (v.waits.length ? " bad" : "") }, v.waits.length ? "✕ not replicated. " + v.waits.join(" ") : "")));
  show("tables-body", rows.length ? h("table", {}, h("thead", {}, h("tr", {}, ["Table", "Changes applied, since the daemon's start", "Versions that lost", "Why it waits"].map((t) => h("th", { scope: "col" }, t)))), h("tbody", {}, rows))
    : h("p", { class: "muted" }, "No change of a table has been applied since the daemons started, and none waits."));
}
function facts(pairs) {
  return h("dl", {}, pairs.filter(([, v]) => v !== undefined && v !== null && v !== "").map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
}
function metricOf(region, name) {
  const m = region === state.status.here ? state.metrics : (state.peers[region] || {}).metrics;
  const found = (m || []).find((x) => x.name === name);
  return found ? found.value : NaN;
}
function drawRegions() {
  show("regions-body", regions().map((r) => {
    const c = r.capture || {}, a = r.apply || {}, full = metricOf(r.region, "pangea_slot_full_seconds"), room = metricOf(r.region, "pangea_slot_room_bytes");
    const unstable = Object.keys(a.vector || {}).filter((k) => (a.vector[k] || 0) > ((a.stable || {})[k] || 0));
    const said = (d, w) => (w === "running" ? word(w) : [word(w), " ", d.since && (d.alive || w === "stopped") ? "for " + coarse(since(d.since)) : isNumber(d.age_seconds) ? "heard of " + coarse(d.age_seconds) + " ago" : "", d.why ? ": " + d.why : ""]);
    return h("div", { class: "card", id: "region-" + r.region }, h("h3", {}, `${r.region} `, h("span", { class: "muted" }, r.role)), facts([
      ["this page", unreached(r.region) ? h("span", { class: "warn" }, unreached(r.region)) : null],
      ["database", r.reachable ? null : h("span", { class: "bad" }, r.error || "does not answer")],
      r.role === "leader" ? ["capture", said(c, agentWord(r, "capture"))] : ["", ""], ["apply", said(a, agentWord(r, "apply"))],
      ["slot", c.slot], ["WAL held", isNumber(c.retained_bytes) ? bytes(c.retained_bytes) + (isNumber(room) ? `, room for ${bytes(room)}` : "") : null],
      ["slot full in", isNumber(full) ? span(full) : null], ["published", isNumber(c.transactions) ? `${count(c.transactions)} transactions, ${count(c.rows)} rows` : null],
      ["epoch", c.epoch], ["tombstones", isNumber(a.tombstones) ? count(a.tombstones) : null], ["not stable yet", a.vector ? (unstable.length ? "changes of " + unstable.join(", ") : "nothing") : null],
      ["mirrors", (a.mirrors || []).map((m) => `${m.log}: ${m.state}`).join(", ")], ["version", a.version || c.version], ["process", a.pid || c.pid]]));
  }));
}

function draw() {
  drawHead();
  if (!state.status) return;
  for (const part of [drawMap, drawWays, drawTime, drawConflicts, drawTables, drawRegions]) part();
  put("topology-body", state.status.topology_text || "");
}

/* ---- asking -------------------------------------------------------------------------------------------------------------------------------------------- */
async function ask(url, limit) {
  const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(limit || 8000) });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || `${answer.status}`);
  return answer;
}
function parseMetrics(text) {
  const out = [];
  for (const line of text.split("\n")) {
    const m = /^(\w+)\{(.*)\} (\S+)$/.exec(line);
    if (!m || m[1].endsWith("_bucket")) continue;
    const labels = {};
    for (const l of m[2].matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[l[1]] = l[2].replace(/\\(.)/g, (_, ch) => (ch === "n" ? "\n" : ch));
    out.push({ name: m[1], labels, value: Number(m[3].replace("+Inf", "Infinity")) });
  }
  return out;
}
async function askStatus() {
  try {
    state.status = await (await ask("../status?page=1")).json();
    state.failed = null;
    sample();
  } catch {
    state.failed = state.failed || Date.now();
  }
}
async function askMetrics() {
  try { state.metrics = parseMetrics(await (await ask("../metrics")).text()); } catch { /* told by the status */ }
}
/* The daemons of the other regions, where the topology says that a browser finds them and they are known to run. */
async function askPeer(r) {
  const known = state.status.topology.regions[r.region], url = known && known.http && known.http.url;
  const p = (state.peers[r.region] = state.peers[r.region] || {});
  const alive = (r.capture && r.capture.alive) || (r.apply && r.apply.alive);
  if (!url || !alive || (p.failedAt && Date.now() - p.failedAt < 60000)) return;
  try {
    const [status, metrics] = await Promise.all([ask(url + "/status?page=1").then((a) => a.json()), ask(url + "/metrics").then((a) => a.text())]);
    Object.assign(p, { history: status.history, metrics: parseMetrics(metrics), at: Date.now(), failedAt: 0, failedSince: 0 });
  } catch (e) {
    p.failedAt = Date.now(); // what its database says is shown
    p.failedSince = p.failedSince || p.failedAt;
    p.failedWhy = e.name === "TimeoutError" ? "no answer within 8 s" : e.message;
  }
}
async function askConflicts() {
  const of = state.conflictsOf || (state.status && state.status.here);
  if (!of) return;
  try {
    const answer = await (await ask("../conflicts?region=" + encodeURIComponent(of))).json();
    if (of !== (state.conflictsOf || of)) return;
    state.conflicts = answer.conflicts;
    state.conflictsError = "";
  } catch (e) {
    state.conflictsError = `The conflicts of ${of} cannot be read: ${e.message}`;
  }
}

async function every(ms, what) {
  for (;;) {
    if (!document.hidden) { await what(); draw(); }
    await new Promise((done) => setTimeout(done, ms));
  }
}
function theme(value) {
  const dark = value ? value === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
function remembered(value) { // a browser may forbid it
  try { if (value !== undefined) localStorage.setItem("theme", value); return localStorage.getItem("theme") || ""; } catch { return value || ""; }
}
$("theme").value = remembered();
theme($("theme").value);
$("theme").addEventListener("change", (e) => theme(remembered(e.target.value)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme($("theme").value));
$("where").addEventListener("change", async (e) => { state.conflictsOf = e.target.value; state.conflicts = null; draw(); await askConflicts(); draw(); });
document.addEventListener("click", (e) => {
  const text = e.target.dataset && e.target.dataset.copy;
  if (text && navigator.clipboard) navigator.clipboard.writeText(text).then(() => { e.target.textContent = "Copied"; }, () => {});
});
new ResizeObserver(() => { if (state.status) drawMap(); }).observe($("map-body"));
(async () => {
  await Promise.all([askStatus(), askMetrics()]);
  await askConflicts();
  draw();
  every(EVERY_MS, askStatus);
  every(PEERS_MS, askMetrics);
  every(PEERS_MS, () => Promise.all(regions().filter((r) => r.region !== state.status.here).map(askPeer)));
  every(PEERS_MS, askConflicts);
})();
