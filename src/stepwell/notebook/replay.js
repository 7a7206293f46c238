// Steps through a recorded run: the graph, the state and the table as they were.
// Called with the root element and the data. Text only ever goes into a page as text.
(root, data) => {
  "use strict";
  if (root.classList.contains("sw-live")) return;
  root.classList.add("sw-live");
  // JupyterLab leaves keys alone below an element that says so.
  root.setAttribute("data-lm-suppress-shortcuts", "true");

  const find = (name) => root.querySelector(name);
  const make = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const drawn = (text) => {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
    return document.importNode(parsed.documentElement, true);
  };
  const BEGIN = 0, DONE = 1, FAILED = 2, CANCELLED = 3, RETRYING = 4;
  const WORDS = ["begins", "done", "failed", "cancelled", "fails and will try again"];
  const KINDS = ["sw-running", "sw-done", "sw-failed", "sw-cancelled", "sw-retrying"];
  const STATUSES = ["idle", "queued", "running", "done", "failed", "waiting", "cancelled"];
  const {steps, rows, moments} = data;
  const last = moments.length - 1;
  let now = last, timer = null, picked = -1;

  // What is behind the page, for rows that must cover others.
  for (let at = root; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (colour && colour !== "transparent" && !/, 0\)$/.test(colour)) {
      root.style.setProperty("--sw-page", colour);
      break;
    }
  }

  // -- pictures: as parts of the page, in the place of the images -------------------

  const replaced = (name, svg) => {
    const place = find(name);
    if (!place || !svg) return null;
    const picture = drawn(svg);
    place.replaceChildren(picture);
    return picture;
  };
  const graph = replaced(".sw-graph", data.graph);
  const nodes = steps.map((s) => (graph && s[1] ? graph.querySelector("." + s[1]) : null));
  // The timeline is large: it is taken out of its image, and gets the page's colours.
  const image = find(".sw-timeline img");
  const bytes = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));
  const timeline = image && replaced(".sw-timeline",
    new TextDecoder().decode(bytes(atob(image.src.split(",")[1]))));
  if (timeline) timeline.querySelector("style").remove();
  let cursor = null, band = null;
  const [left, right, whole] = data.axis;
  const x = (t) => left + (right - left) * Math.min(t / whole, 1);
  const seek = (share) => {
    // The last moment that is not after this time.
    const t = (share - left) / (right - left) * whole;
    let place = 0;
    while (place < last && moments[place + 1][0] <= t) place++;
    show(place);
  };
  if (timeline) {
    const height = timeline.viewBox.baseVal.height;
    const shape = (tag, name, sizes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      made.setAttribute("class", name);
      for (const size in sizes) made.setAttribute(size, sizes[size]);
      timeline.appendChild(made);
      return made;
    };
    band = shape("rect", "sw-band", {x: 0, y: 4, width: 0, height: height - 24});
    cursor = shape("line", "sw-cursor", {x1: 0, x2: 0, y1: 2, y2: height - 18});
    const drag = (event) => {
      const box = timeline.getBoundingClientRect();
      const at = (event.clientX - box.left) / box.width * timeline.viewBox.baseVal.width;
      if (at >= left - 8) { stop(); seek(at); event.preventDefault(); }
    };
    timeline.style.touchAction = "pan-y";
    timeline.addEventListener("pointerdown", (event) => {
      if (!moments.length) return;
      timeline.setPointerCapture(event.pointerId);
      drag(event);
    });
    timeline.addEventListener("pointermove", (event) => {
      if (timeline.hasPointerCapture(event.pointerId)) drag(event);
    });
  }

  // -- moments: a slider, and buttons beside it --------------------------------------

  const icon = (path) => drawn(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 12 12"><path d="${path}"/></svg>`);
  const PLAY = "M2.5 1v10l8-5z", PAUSE = "M2.5 1.5h2.6v9H2.5zM6.9 1.5h2.6v9H6.9z";
  const button = (path, title, act) => {
    const made = make("button", "sw-round");
    made.type = "button";
    made.title = title;
    made.setAttribute("aria-label", title);
    made.append(icon(path));
    made.addEventListener("click", act);
    return made;
  };
  const slider = make("input"), said = make("span", "sw-said sw-pale");
  slider.type = "range";
  slider.min = 0;
  slider.max = Math.max(last, 0);
  slider.setAttribute("aria-label", "Moment of the run");
  slider.addEventListener("input", () => { stop(); show(+slider.value); });
  said.setAttribute("role", "status");
  const move = (by) => { stop(); show(now + by); };
  const play = button(PLAY, "Play", () => {
    if (timer !== null) return stop();
    if (now >= last) show(0);
    play.replaceChildren(icon(PAUSE));
    play.title = "Pause";
    // Some ten seconds for a long run, and time to see each moment of a short one.
    const pause = Math.max(16, Math.min(650, 10000 / moments.length));
    const leap = Math.max(1, Math.round(moments.length * 16 / 10000));
    timer = setInterval(() => {
      if (!root.isConnected || now >= last) return stop();
      show(now + (pause > 16 ? 1 : leap));
    }, pause);
  });
  const stop = () => {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    play.replaceChildren(icon(PLAY));
    play.title = "Play";
  };
  if (moments.length) {
    find(".sw-moments").append(
      button("M1 1h2v10H1zM11 1v10L4 6z", "First moment (Home)", () => move(-now)),
      button("M9 1v10L2 6z", "One moment back (←)", () => move(-1)),
      play,
      button("M3 1v10l7-5z", "One moment on (→)", () => move(1)),
      button("M1 1v10l7-5zM9 1h2v10H9z", "Last moment (End)", () => move(last)),
      slider, said);
  }

  const seconds = (t) => (t < 0.0995 ? `${(t * 1000).toFixed(1)} ms`
    : t < 60 ? `${t.toFixed(2)} s` : `${Math.floor(t / 60)} min ${(t % 60).toFixed(1)} s`);

  const state = find(".sw-state");
  const keys = new Map();
  if (state) {
    for (const line of state.querySelectorAll("tbody tr")) {
      keys.set(line.cells[0].textContent, line);
    }
  }
  const dimmed = [];
  let marked = null;

  function show(place) {
    if (!moments.length) return;
    now = Math.max(0, Math.min(last, place));
    const [t, step, row, kind, id] = moments[now];
    slider.value = now;
    slider.style.setProperty("--sw-share", last ? `${100 * now / last}%` : "100%");
    const words = `#${id} ${steps[step][0]} ${WORDS[kind]}`;
    slider.setAttribute("aria-valuetext", words);
    said.replaceChildren(
      make("span", "", `${seconds(t)} · `),
      Object.assign(make("b", KINDS[kind], words), {style: "font-weight:600"}),
      make("span", "", ` · ${now + 1} of ${moments.length}`));
    if (cursor) {
      cursor.setAttribute("x1", x(t));
      cursor.setAttribute("x2", x(t));
    }
    paint();
    tell();
    bodies.forEach((body, i) => {
      const later = rows[i][3] === null || begun[i] > now;
      if (later !== dimmed[i]) body.classList.toggle("sw-later", dimmed[i] = later);
    });
    if (marked) marked.classList.remove("sw-now");
    marked = now < last && row >= 0 ? bodies[row] : null;
    if (marked) marked.classList.add("sw-now");
    if (marked && !marked.hidden) reveal(marked);
  }

  // Steps with their counts as they were.
  function paint() {
    const counts = data.base.map((count) => count.slice());
    for (let i = 0; i <= now; i++) {
      const [, step, , kind] = moments[i], count = counts[step];
      if (kind === BEGIN) count[BEGIN]++;
      else { count[BEGIN]--; count[kind]++; }
    }
    counts.forEach((count, step) => {
      const node = nodes[step];
      if (!node) return;
      const running = count[BEGIN], done = count[DONE], failed = count[FAILED];
      const whole = running + done + failed + count[CANCELLED];
      const status = failed ? "failed" : running ? "running" : count[RETRYING] && !done
        ? "queued" : done ? "done" : count[CANCELLED] ? "cancelled" : "idle";
      for (const each of STATUSES) node.classList.toggle("is-" + each, each === status);
      const badge = node.querySelector(".count");
      if (!badge) return;
      const n = (number) => number.toLocaleString("en");
      let words = failed ? (whole > 1 ? `${n(failed)} failed` : "failed")
        : whole > 1 ? (done === whole ? n(done) : `${n(done)}/${n(whole)}`) : "";
      if (words.length > 9 && !failed) words = n(done); // there is room for no more
      badge.textContent = words;
      badge.style.padding = words ? "0 6px" : "0";
    });
  }

  // The state as it was; what this moment changed is marked.
  function tell() {
    if (!state) return;
    const values = new Map(data.before), fresh = new Set();
    for (const [place, key, value] of data.changes) {
      if (place > now) break;
      values.set(data.keys[key], value);
      if (place === now) fresh.add(data.keys[key]);
    }
    for (const [key, line] of keys) {
      const there = Boolean(values.get(key));
      line.cells[1].textContent = there ? values.get(key) : "not set";
      line.classList.toggle("sw-none", !there);
      line.classList.toggle("sw-new", fresh.has(key));
    }
  }

  // -- the table: filters, order, causes ---------------------------------------------

  const table = find(".sw-calls"), box = find(".sw-box");
  const bodies = table ? Array.from(table.tBodies) : [];
  const begun = rows.map(() => -1);
  moments.forEach(([, , row, kind], place) => {
    if (kind === BEGIN && row >= 0) begun[row] = place;
  });
  const texts = bodies.map((body) => body.textContent.toLowerCase());
  const chosen = new Set();
  const search = make("input");
  search.type = "search";
  search.placeholder = "filter";
  search.setAttribute("aria-label", "Filter calls by text");
  const shown = make("span", "sw-pale");
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    let count = 0;
    bodies.forEach((body, i) => {
      body.hidden = (chosen.size && !chosen.has(rows[i][1]))
        || (wanted && !texts[i].includes(wanted)) || false;
      count += !body.hidden;
    });
    shown.textContent = count < bodies.length ? `${count} of ${bodies.length} shown` : "";
  };
  search.addEventListener("input", filter);
  if (bodies.length > 1) {
    const tools = find(".sw-filters");
    steps.forEach(([name, , calls], i) => {
      if (!calls) return;
      const chip = make("button", "", name);
      chip.type = "button";
      chip.append(make("span", "", ` ${calls}`));
      chip.lastChild.style.opacity = ".6";
      chip.setAttribute("aria-pressed", "false");
      chip.addEventListener("click", () => {
        if (!chosen.delete(i)) chosen.add(i);
        chip.setAttribute("aria-pressed", String(chosen.has(i)));
        filter();
      });
      tools.append(chip);
    });
    tools.append(search, shown);
  }

  const heads = table ? Array.from(table.tHead.rows[0].cells) : [];
  const number = (text) => parseFloat(text.replace(/[$,#]/g, ""));
  const worth = (i, column, kind) => {
    if (kind === "id") return rows[i][0] + rows[i][2] / 1e6;
    if (kind === "start") return rows[i][3] === null ? Infinity : rows[i][3];
    if (kind === "took") return rows[i][4] === null ? Infinity : rows[i][4] - rows[i][3];
    const text = bodies[i].rows[0].cells[column].textContent;
    if (kind === "number") return Number.isNaN(number(text)) ? -Infinity : number(text);
    return text;
  };
  heads.forEach((head, column) => {
    const kind = data.columns[column];
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = bodies.map((body, i) => [worth(i, column, kind), i, body]);
      keyed.sort(([a, i], [b, j]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1) || i - j);
      table.tFoot.before(...keyed.map((each) => each[2]));
    };
    head.tabIndex = 0;
    head.title = "Sort by this column";
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });

  // Only the box is scrolled, never the page.
  const reveal = (body) => {
    const top = body.offsetTop, head = table.tHead.offsetHeight + 2;
    const foot = table.tFoot.offsetHeight + 2;
    if (top - head < box.scrollTop) box.scrollTop = top - head;
    const low = top + body.offsetHeight + foot - box.clientHeight;
    if (low > box.scrollTop) box.scrollTop = low;
  };

  const byId = new Map(), caused = new Map();
  const into = (map, key, value) => {
    if (!map.has(key)) map.set(key, []);
    if (!map.get(key).includes(value)) map.get(key).push(value);
  };
  rows.forEach((row, i) => {
    into(byId, row[0], i);
    for (const from of row[6]) into(caused, from, row[0]);
  });
  const chain = find(".sw-chain");
  const NAMED = 6;
  const HINT = "Click a call to see what caused it, and what it caused.";

  function pick(i) {
    picked = i === picked ? -1 : i;
    for (const body of bodies) body.classList.remove("sw-picked", "sw-causes", "sw-effects");
    for (const node of nodes) if (node) node.classList.remove("sw-in");
    chain.replaceChildren(make("span", "sw-pale", picked < 0 ? HINT : ""));
    if (band) band.setAttribute("width", 0);
    if (picked < 0) return;
    const mark = (id, name) => {
      for (const each of byId.get(id) || []) {
        if (name !== "sw-picked") bodies[each].classList.add(name);
        const node = nodes[rows[each][1]];
        if (node) node.classList.add("sw-in");
      }
    };
    const [id, step, , start, end, , from] = rows[i];
    bodies[i].classList.add("sw-picked");
    mark(id, "sw-picked");
    // Those that sent its events, those that sent theirs, and so on.
    const causes = [], effects = [], seen = new Set([id]);
    for (let level = from; level.length;) {
      const fresh = [...new Set(level)].filter((at) => !seen.has(at));
      for (const at of fresh) {
        seen.add(at);
        mark(at, "sw-causes");
      }
      if (fresh.length) causes.push(fresh);
      level = fresh.flatMap((at) => byId.has(at) ? rows[byId.get(at)[0]][6] : []);
    }
    const next = [id];
    while (next.length) {
      for (const each of caused.get(next.shift()) || []) {
        if (seen.has(each)) continue;
        seen.add(each);
        effects.push(each);
        next.push(each);
        mark(each, "sw-effects");
      }
    }
    const named = (at) => {
      const row = byId.has(at) ? rows[byId.get(at)[0]] : null;
      return `#${at}${row ? " " + steps[row[1]][0] : ""}`;
    };
    const list = (ids) => ids.slice(0, NAMED).map(named).join(", ")
      + (ids.length > NAMED ? ` and ${ids.length - NAMED} more` : "");
    chain.append(
      make("b", "", `#${id} ${steps[step][0]}`),
      make("span", "sw-pale", causes.length ? " was caused by " : " began with an event from outside"),
      make("span", "", causes.slice(0, NAMED).map(list).join(" ← ")
        + (causes.length > NAMED ? " ← …" : "")),
      make("span", "sw-pale", effects.length ? ", and caused " : ", and caused no call"),
      make("span", "", list(effects)));
    if (band && start !== null) {
      band.setAttribute("x", x(start));
      band.setAttribute("width", Math.max(x(end === null ? whole : end) - x(start), 1.5));
    }
  }
  if (table) {
    table.addEventListener("click", (event) => {
      const body = event.target.closest("tbody");
      if (body && !String(getSelection())) pick(bodies.indexOf(body));
    });
    chain.append(make("span", "sw-pale", HINT));
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Calls; arrow keys up and down choose one");
  }

  root.addEventListener("keydown", (event) => {
    const {key, target} = event;
    if (event.ctrlKey || event.metaKey || event.altKey || target === search) return;
    const steps = {ArrowRight: 1, ArrowLeft: -1, Home: -now, End: last, PageUp: -10, PageDown: 10};
    const rowKeys = box && target.closest(".sw-box");
    if ((key === "ArrowDown" || key === "ArrowUp") && rowKeys) {
      const order = Array.from(table.tBodies).filter((body) => !body.hidden);
      const at = order.indexOf(bodies[picked]);
      const next = order[key === "ArrowDown" ? at + 1 : Math.max(at - 1, 0)];
      if (next && bodies.indexOf(next) !== picked) pick(bodies.indexOf(next));
      if (next) reveal(next);
    } else if (key === "Escape" && picked >= 0) pick(picked);
    else if (key in steps && !(rowKeys && key.length > 4 && !key.startsWith("Arrow"))) {
      move(steps[key]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  show(last);
}
