/* Looks at the page of a daemon in Chromium, as a person would: several widths, light and dark, keyboard; and as axe-core does.
 *     node look.js '{"url", "out": "path/prefix", "wait": "a text that must come", "modules": "..", "chromium": "..", "limit_ms"}'
 * Prints {errors, overflow, violations, unreachable, text}; screenshots are left at <out>-<name>.png: the whole page in each size, what a window
 * shows of it (view), and one part of it when a selector `part` is given. */
"use strict";
const path = require("path");
const job = JSON.parse(process.argv[2]);
const { chromium } = require(path.join(job.modules, "playwright-core"));
const axe = path.join(job.modules, "axe-core", "axe.min.js");

const SIZES = [
  { name: "wide", width: 1280, height: 900, colorScheme: "light" },
  { name: "dark", width: 1280, height: 900, colorScheme: "dark" },
  { name: "phone", width: 360, height: 740, colorScheme: "light" },
  { name: "4k", width: 3840, height: 2160, colorScheme: "dark" },
];
const found = { errors: [], overflow: [], violations: [], unreachable: [], text: "" };

async function open(browser, size, extra) {
  const context = await browser.newContext({ viewport: { width: size.width, height: size.height }, colorScheme: size.colorScheme, ...extra });
  const page = await context.newPage();
  page.on("console", (m) => { if (m.type() === "error" || m.type() === "warning") found.errors.push(`${size.name}: ${m.text()} (${m.location().url})`); });
  page.on("pageerror", (e) => found.errors.push(`${size.name}: ${e.stack || e}`));
  await page.goto(job.url, { waitUntil: "load" });
  const end = Date.now() + job.limit_ms; // not waitForFunction: the page's policy forbids what it evaluates
  while (!(await page.evaluate((want) => document.body.innerText.includes(want), job.wait))) {
    if (Date.now() > end) throw new Error(`"${job.wait}" did not come; the page says: ${(await page.evaluate(() => document.body.innerText)).slice(0, 3000)}`);
    await page.waitForTimeout(50);
  }
  return { context, page };
}

/* Every link, button and choice can be reached with the tabulator key, and shows that it is. */
async function keyboard(page) {
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
}

async function look(browser, size) {
  const { context, page } = await open(browser, size);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) found.overflow.push(`${size.name}: ${wide} px too wide`);
  await page.screenshot({ path: `${job.out}-${size.name}.png`, fullPage: true });
  if (size.name === "wide") {
    await page.screenshot({ path: `${job.out}-view.png` });
    if (job.part) await page.locator(job.part).screenshot({ path: `${job.out}-part.png` });
    found.text = await page.evaluate(() => document.body.innerText);
    await keyboard(page);
  }
  await context.close();
}

async function judge(browser, size) {
  const { context, page } = await open(browser, size, { bypassCSP: true }); // axe is no part of the page
  await page.addScriptTag({ path: axe });
  const result = await page.evaluate(() => window.axe.run(document));
  for (const v of result.violations)
    if (v.impact === "serious" || v.impact === "critical") found.violations.push(`${size.name}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.failureSummary || "")).join(" | ")}`);
  await context.close();
}

(async () => {
  const browser = await chromium.launch({
    executablePath: job.chromium,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  });
  try {
    for (const size of SIZES) await look(browser, size);
    for (const size of SIZES.slice(0, 3)) await judge(browser, size);
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(found));
})().catch((e) => { console.error(e); process.exit(1); });
