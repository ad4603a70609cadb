/* Draws Mermaid texts in Chromium with Mermaid itself.
 *     node draw.js '{"modules": "..", "chromium": "..", "mermaid": "mermaid.min.js", "texts": ["flowchart LR ..", ..]}'
 * Prints a list: {nodes: [text of each], ways: [text of each label], lines, out} or {failed}; the drawing is left at <out>. */
"use strict";
const path = require("path");
const job = JSON.parse(process.argv[2]);
const { chromium } = require(path.join(job.modules, "playwright-core"));

async function draw(page, text) {
  try {
    return await page.evaluate(async (t) => {
      document.body.innerHTML = (await window.mermaid.render("drawing", t)).svg;
      const said = (selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent.trim()).filter((s) => s);
      return { nodes: said(".node .nodeLabel"), ways: said(".edgeLabel .edgeLabel"), lines: document.querySelectorAll(".edgePaths path").length };
    }, text);
  } catch (e) {
    return { failed: String(e.message || e) };
  }
}

(async () => {
  const browser = await chromium.launch({ executablePath: job.chromium, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"] });
  try {
    const page = await browser.newPage();
    await page.addScriptTag({ path: job.mermaid });
    await page.evaluate(() => window.mermaid.initialize({ startOnLoad: false, securityLevel: "strict" }));
    const found = [];
    for (const text of job.texts) found.push(await draw(page, text));
    if (job.out) await page.screenshot({ path: job.out });
    console.log(JSON.stringify(found));
  } finally {
    await browser.close();
  }
})().catch((e) => { console.error(e); process.exit(1); });
