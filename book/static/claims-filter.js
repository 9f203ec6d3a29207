/* The claims page: show only the claims of one paper, or with one answer; a link to a claim opens its
   fold. Everything it needs stands in the page, so it works from a folder too. */
(function () {
  "use strict";
  const tables = Array.from(document.querySelectorAll("table.claims"));
  if (!tables.length) return;

  /* A claim: its paper, its answers, its line in the overview, its fold below. */
  const claims = [];
  const papers = new Map();
  tables.forEach(function (table) {
    const paper = Array.from(table.classList).find((name) => name.startsWith("paper-"));
    const box = table.closest(".pst-scrollable-table-container") || table;
    const title = box.previousElementSibling;
    papers.set(paper, { title: title.textContent, parts: [title, box] });
    table.querySelectorAll("tbody tr").forEach(function (row) {
      const link = row.querySelector("a[href^='#claim-']");
      claims.push({
        paper: paper,
        holds: row.querySelector("[class*='holds-']").textContent,
        simpler: row.querySelector("[class*='simpler-']").textContent,
        parts: [row, document.getElementById(link.getAttribute("href").slice(1))],
      });
    });
    const section = document.getElementById("claims-" + paper.slice(6));
    if (section) papers.get(paper).parts.push(section);
  });

  const form = document.createElement("form");
  form.className = "claims-filter";
  form.setAttribute("aria-label", "Filter the claims");
  const paper = choice("Paper", Array.from(papers, ([name, one]) => [name, one.title]));
  const holds = choice("Does it hold?", answers("holds"), "holds");
  const simpler = choice("A simpler way?", answers("simpler"), "simpler");
  const count = document.createElement("p");
  count.setAttribute("role", "status");
  const all = document.createElement("button");
  all.type = "reset";
  all.textContent = "Show all";
  form.append(all, count);
  papers.get(claims[0].paper).parts[0].before(form);
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  window.addEventListener("hashchange", reveal);
  show();
  reveal();

  function answers(question) {
    return Array.from(new Set(claims.map((claim) => claim[question])), (words) => [words, words]);
  }

  function choice(title, options, name) {
    const label = document.createElement("label");
    const select = document.createElement("select");
    select.name = name || title.toLowerCase();
    select.append(new Option("all", ""), ...options.map(([value, text]) => new Option(text, value)));
    label.append(title + " ", select);
    form.append(label);
    return select;
  }

  function show() {
    const left = new Map();
    let shown = 0;
    claims.forEach(function (claim) {
      const fits = (!paper.value || claim.paper === paper.value) &&
        (!holds.value || claim.holds === holds.value) &&
        (!simpler.value || claim.simpler === simpler.value);
      hide(claim.parts, !fits);
      if (fits) {
        shown += 1;
        left.set(claim.paper, true);
      }
    });
    papers.forEach((one, name) => hide(one.parts, !left.has(name)));
    count.textContent = shown + " of " + claims.length + " claims";
    all.disabled = !paper.value && !holds.value && !simpler.value;
  }

  function hide(parts, hidden) {
    parts.forEach((part) => { if (part) part.hidden = hidden; });
  }

  /* A link to a claim opens its fold, and shows all again where it is filtered out. */
  function reveal() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target && target.closest("details");
    if (fold && !fold.open) {
      fold.open = true;
      target.scrollIntoView();
    }
    if (target && target.closest("[hidden]")) {
      form.reset();
      setTimeout(() => target.scrollIntoView(), 50);
    }
  }
})();
