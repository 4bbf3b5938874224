"use strict";
(() => {
  const PAGE = 25; // rows that are drawn at a time
  const SPARK_HEIGHT = 24;
  const SVG = "http://www.w3.org/2000/svg";
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);

  // Whole numbers that a double cannot hold come as text.
  const exact = (value) => (typeof value === "string" ? BigInt(value) : value);
  const shown = (value) => (value < 0 ? 0 : value);
  const grouped = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  // Of several zeros in a row only the number stands there, in a list.
  const unpacked = (days) =>
    days.flatMap((day) => (Array.isArray(day) ? Array(day[0]).fill(0) : [exact(day)]));
  const sum = (days) => {
    const total = days.reduce(
      (before, day) => (Array.isArray(day) ? before : before + BigInt(day)),
      0n,
    );
    const number = Number(total);
    return Number.isSafeInteger(number) ? number : total;
  };

  // They come in the order of their ids, so their place here stands for the id where it sorts.
  const skills = data.skills.map(([parts, totals, days], place) => ({
    parts: typeof parts === "string" ? [parts] : parts,
    text: (typeof parts === "string" ? parts : parts.join("")).normalize().toLowerCase(),
    totals: totals.map(exact),
    days,
    sums: days.map(sum),
    place,
  }));
  const keys = { id: (skill) => skill.place };
  data.columns.forEach((_, n) => (keys[`days-${n}`] = (skill) => shown(skill.sums[n])));
  data.counters.forEach((_, n) => (keys[`total-${n}`] = (skill) => shown(skill.totals[n])));

  const state = {
    by: data.columns.length ? "days-0" : "total-0",
    descending: true,
    filter: "",
    page: 0,
    drawn: 0,
  };
  let listed = [];

  // Elements

  const element = (name, classes = "", ...children) => {
    const made = document.createElement(name);
    if (classes) made.className = classes;
    made.append(...children);
    return made;
  };
  const drawing = (name, attributes, ...children) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const number = (value) => {
    if (value >= 0) return grouped(value);
    const made = element("abbr", "", "0");
    made.title = `stored as ${grouped(value)}`;
    return made;
  };
  const shownId = (skill) => {
    const made = element("bdi");
    skill.parts.forEach((part, n) => made.append(n % 2 ? element("i", "escape", part) : part));
    return made;
  };
  const label = (name) => name.replaceAll("_", " ");

  const height = (value, top) =>
    value > 0 ? Number((BigInt(value) * BigInt(SPARK_HEIGHT) + top - 1n) / top) : 0;
  const spark = (skill, n, classes) => {
    const values = unpacked(skill.days[n]);
    const top = values.reduce((most, value) => (value > most ? value : most), 0);
    const steps = values.map(
      (value, place) => `V${SPARK_HEIGHT - height(value, BigInt(top))}H${place + 1}`,
    );
    const days = values.length === 1 ? "1 day" : `${values.length} days`;
    return drawing(
      "svg",
      {
        class: classes,
        role: "img",
        viewBox: `0 0 ${values.length} ${SPARK_HEIGHT}`,
        preserveAspectRatio: "none",
      },
      drawing(
        "title",
        {},
        `${skill.parts.join("")}: ${label(data.columns[n])} by day, ${days}, at most ${grouped(top)}`,
      ),
      drawing("path", { d: `M0 ${SPARK_HEIGHT}${steps.join("")}V${SPARK_HEIGHT}Z` }),
    );
  };

  // Rows

  const row = (skill) => {
    const open = element("button", "open", element("span", "id", shownId(skill)));
    open.type = "button";
    open.title = skill.parts.join("");
    open.setAttribute("aria-expanded", "false");
    const name = element("th", "", data.columns.length ? open : element("span", "id", shownId(skill)));
    name.scope = "row";
    const made = element("tr", "", name);
    if (data.columns.length) {
      made.append(element("td", "drawn", spark(skill, state.drawn, "spark")));
    }
    for (const value of [...skill.sums, ...skill.totals]) {
      made.append(element("td", "number", number(value)));
    }
    open.addEventListener("click", () => {
      const isOpen = open.getAttribute("aria-expanded") === "true";
      open.setAttribute("aria-expanded", String(!isOpen));
      if (isOpen) made.nextSibling.remove();
      else made.after(details(skill));
    });
    return made;
  };

  const details = (skill) => {
    const figures = data.columns.map((column, n) =>
      element(
        "figure",
        "",
        element("figcaption", "", `${label(column)} by day`),
        spark(skill, n, "spark large"),
      ),
    );
    const head = element("tr", "", heading("day (UTC)", "col"));
    for (const column of data.columns) head.append(heading(label(column), "col", "number"));
    const body = element("tbody");
    const byDay = skill.days.map(unpacked);
    data.days.forEach((day, place) => {
      const isKnown = place >= data.covered[0] && place < data.covered[1];
      const line = element("tr", "", heading(day, "row"));
      for (const values of byDay) {
        line.append(element("td", "number", isKnown ? number(values[place]) : "–"));
      }
      body.append(line);
    });
    const table = element("div", "scroll tall", element("table", "", element("thead", "", head), body));
    table.tabIndex = 0;
    table.setAttribute("role", "region");
    table.setAttribute("aria-label", `${skill.parts.join("")} by day`);
    const whole = element("p", "whole", shownId(skill));
    const cell = element("td", "", whole, element("div", "detail", ...figures, table));
    cell.colSpan = 2 + data.columns.length + data.counters.length;
    return element("tr", "details", cell);
  };

  const heading = (text, scope, classes = "") => {
    const made = element("th", classes, text);
    made.scope = scope;
    return made;
  };

  // The table

  const arrange = () => {
    const key = keys[state.by];
    const sign = state.descending ? -1 : 1;
    listed = skills
      .filter((skill) => skill.text.includes(state.filter))
      .sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        return a < b ? -sign : a > b ? sign : one.place - other.place;
      });
    state.page = 0;
    draw();
  };

  const draw = () => {
    const first = state.page * PAGE;
    const some = listed.slice(first, first + PAGE);
    byId("rows").replaceChildren(...some.map(row));
    for (const head of document.querySelectorAll("th[data-by]")) {
      if (head.dataset.by !== state.by) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    }
    const pages = Math.max(1, Math.ceil(listed.length / PAGE));
    byId("place").textContent = `page ${grouped(state.page + 1)} of ${grouped(pages)}`;
    byId("back").setAttribute("aria-disabled", String(state.page === 0));
    byId("next").setAttribute("aria-disabled", String(state.page === pages - 1));
    document.querySelector(".pager").hidden = pages === 1;
    byId("found").textContent = `${grouped(listed.length)} of ${grouped(skills.length)} skills`;
  };

  const turn = (pages) => {
    const page = state.page + pages;
    if (page < 0 || page * PAGE >= listed.length) return;
    state.page = page;
    draw();
  };

  for (const head of document.querySelectorAll("th[data-by]")) {
    head.querySelector("button").addEventListener("click", () => {
      const { by } = head.dataset;
      state.descending = by === state.by ? !state.descending : by !== "id";
      state.by = by;
      arrange();
    });
  }
  byId("filter").addEventListener("input", (event) => {
    state.filter = event.target.value.normalize().toLowerCase();
    arrange();
  });
  byId("drawn")?.addEventListener("change", (event) => {
    state.drawn = Number(event.target.value);
    draw();
  });
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));

  byId("unscripted").hidden = true;
  byId("table").hidden = false;
  arrange();
})();
