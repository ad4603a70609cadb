/* Looks at the page of a daemon in Chromium, as a person would: several widths, light and dark, keyboard; and as axe-core does.
 *     node look.js '{"modules": "..", "chromium": ".."}'
 * One browser for many looks: each line on stdin is {"url", "out": "path/prefix", "wait": "a text that must come", "limit_ms", "part": selector},
 * each line on stdout {errors, overflow, violations, unreachable, text, charts} or {failed}. With "brief" one window of one width is enough; console
 * errors that name the address "refused" are not told, and must come. With "charts" all curves must be there, and what is drawn is told.  Screenshots are left at <out>-<name>.png: the whole page in each
 * size, what a window shows of it (view), and one part of it when a selector `part` is given. */
"use strict";
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const tools = JSON.parse(process.argv[2]);
const { chromium } = require(path.join(tools.modules, "playwright-core"));
const AXE = fs.readFileSync(path.join(tools.modules, "axe-core", "axe.min.js"), "utf8");

const SIZES = {
  wide: { width: 1280, height: 900, colorScheme: "light" },
  phone: { width: 360, height: 740, colorScheme: "light" },
  "4k": { width: 3840, height: 2160, colorScheme: "dark" },
  dark: { width: 1280, height: 900, colorScheme: "dark" },
};

async function open(browser, job, found, name) {
  const size = SIZES[name];
  const context = await browser.newContext({ viewport: { width: size.width, height: size.height }, colorScheme: size.colorScheme });
  const page = await context.newPage();
  page.on("console", (m) => {
    if (m.type() !== "error" && m.type() !== "warning") return;
    if (job.refused && m.text().includes("ERR_CONNECTION_REFUSED") && m.location().url.includes(job.refused)) found.refused = true;
    else found.errors.push(`${name}: ${m.text()} (${m.location().url})`);
  });
  page.on("pageerror", (e) => found.errors.push(`${name}: ${e.stack || e}`));
  await page.goto(job.url, { waitUntil: "load" });
  await until(page, job, (want) => document.body.innerText.includes(want), job.wait);
  return page;
}
async function until(page, job, met, arg) { // not waitForFunction: the page's policy forbids what it evaluates
  const end = Date.now() + job.limit_ms;
  while (!(await page.evaluate(met, arg))) {
    if (Date.now() > end) throw new Error(`${JSON.stringify(arg)} did not come; the page says: ${(await page.evaluate(() => document.body.innerText)).slice(0, 3000)}`);
    await page.waitForTimeout(50);
  }
}

/* Every link, button and choice can be reached with the tabulator key, and shows that it is. */
async function keyboard(page, job, found) {
  const want = await page.evaluate(() => [...document.querySelectorAll("header a, header select, main button, main select, main summary")].filter((e) => e.checkVisibility()).length);
  const reached = new Set();
  await page.evaluate(() => document.activeElement.blur());
  for (let i = 0; i < want + 80; i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      if (e === document.body) return null;
      if (!e.dataset.walked) e.dataset.walked = String(Math.random());
      return { id: e.dataset.walked, outline: getComputedStyle(e).outlineStyle !== "none", name: e.outerHTML.slice(0, 80) };
    });
    if (!at) break;
    if (!at.outline) found.unreachable.push(`no sign of focus: ${at.name}`);
    reached.add(at.id);
  }
  if (reached.size < want) found.unreachable.push(`${reached.size} of ${want} elements were reached by keyboard`);
  await drawnAnew(page, job, found);
}

/* A part that is drawn anew keeps the focus that was in it. */
async function drawnAnew(page, job, found) {
  const part = await page.evaluate(() => {
    const e = [...document.querySelectorAll("main [data-shown] button")].filter((b) => b.checkVisibility()).pop();
    if (!e) return null;
    e.focus();
    window.heldBefore = e;
    const p = e.closest("[data-shown]");
    p.dataset.shown = "";
    return p.id;
  });
  if (!part) return;
  await until(page, job, () => !window.heldBefore.isConnected, "drawn anew");
  const kept = await page.evaluate(() => document.activeElement.tagName === window.heldBefore.tagName && document.activeElement.dataset.copy === window.heldBefore.dataset.copy);
  if (!kept) found.unreachable.push(`${part}: the focus was lost when it was drawn anew`);
}

/* The same page as another window and in other colours: what a person does who turns a phone, or at dusk. */
async function turn(page, job, name) {
  const size = SIZES[name];
  await page.setViewportSize({ width: size.width, height: size.height });
  await page.emulateMedia({ colorScheme: size.colorScheme });
  await until(page, job, (s) => window.innerWidth === s.width && document.documentElement.dataset.theme === s.colorScheme, size);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))); // the map is drawn for this width
}
async function shoot(page, job, found, name) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) found.overflow.push(`${name}: ${wide} px too wide`);
  await page.screenshot({ path: `${job.out}-${name}.png`, fullPage: true });
}
/* axe-core is brought in by the debugger, past the page's policy, which stays as it is. */
async function judge(page, found, name, rules) {
  const debug = await page.context().newCDPSession(page);
  await debug.send("Runtime.evaluate", { expression: "window.axe === undefined && (() => {" + AXE + "})(); 0" });
  await debug.detach();
  const options = { resultTypes: ["violations"], ...(rules ? { runOnly: { type: "rule", values: rules } } : {}) };
  const result = await page.evaluate((o) => window.axe.run(document, o), options);
  if (result.incomplete.length + result.passes.length + result.violations.length === 0) found.violations.push(`${name}: axe-core has looked at nothing`);
  for (const v of result.violations)
    if (v.impact === "serious" || v.impact === "critical") found.violations.push(`${name}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.failureSummary || "")).join(" | ")}`);
}

/* Every curve as it is drawn: points and, for their scale, the lines of the grid. */
function drawn() {
  const numbers = (e, ...names) => names.map((n) => Number(e.getAttribute(n)));
  return [...document.querySelectorAll("#time-body .card")].map((card) => ({ region: card.querySelector("h3").textContent, now: Date.now() / 1000,
    charts: [...card.querySelectorAll("figure")].map((f) => ({ title: f.querySelector("strong").textContent,
      keys: [...f.querySelectorAll(".key")].map((k) => ({ name: k.textContent, line: "l" + k.className.replace(/.*\bk/, "") })),
      grid: [...f.querySelectorAll("svg line")].map((l) => numbers(l, "x1", "x2", "y1")), marks: [...f.querySelectorAll("svg text")].map((t) => t.textContent),
      lines: [...f.querySelectorAll("polyline")].map((p) => ({ line: p.getAttribute("class"), points: p.getAttribute("points").split(" ").map((x) => x.split(",").map(Number)) })) })) }));
}

/* Two loads, each turned once. */
async function look(browser, job) {
  const found = { errors: [], overflow: [], violations: [], unreachable: [], text: "" };
  let page = await open(browser, job, found, "wide");
  if (job.charts) {
    await until(page, job, (n) => document.querySelectorAll("#time-body figure").length === 2 * n, job.charts);
    found.charts = await page.evaluate(drawn);
  }
  await shoot(page, job, found, "wide");
  if (job.brief) {
    found.text = await page.evaluate(() => document.body.innerText);
    if (job.refused && !found.refused) found.errors.push(`nothing was refused at ${job.refused}`);
    await judge(page, found, "wide");
    await page.context().close();
    return found;
  }
  await page.screenshot({ path: `${job.out}-view.png` });
  if (job.part) await page.locator(job.part).screenshot({ path: `${job.out}-part.png` });
  found.text = await page.evaluate(() => document.body.innerText);
  await keyboard(page, job, found);
  await judge(page, found, "wide");
  await turn(page, job, "phone");
  await shoot(page, job, found, "phone");
  await judge(page, found, "phone");
  await page.context().close();
  page = await open(browser, job, found, "4k");
  await shoot(page, job, found, "4k");
  await turn(page, job, "dark");
  await shoot(page, job, found, "dark");
  await judge(page, found, "dark", ["color-contrast", "link-in-text-block"]); // the rules that see colours
  await page.context().close();
  return found;
}

(async () => {
  const browser = await chromium.launch({
    executablePath: tools.chromium,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    try { answer = await look(browser, JSON.parse(line)); } catch (e) { answer = { failed: String(e.stack || e) }; }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  await browser.close();
})().catch((e) => { console.error(e); process.exit(1); });
