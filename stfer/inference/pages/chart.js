"use strict";
/* Curves of class probabilities over seconds as SVG, with a playhead. A point is [seconds, probability of each class];
   null between two points ends a stretch. Colours and dashes are page.css's `.class-N`. */
function makeChart(slider, classes) {
  const NAMESPACE = "http://www.w3.org/2000/svg";
  const HEIGHT = 220, LEFT = 38, RIGHT = 10, TOP = 10, BOTTOM = 24;
  const svg = document.createElementNS(NAMESPACE, "svg");
  svg.setAttribute("aria-hidden", "true");
  slider.append(svg);
  let points = [], start = 0, end = 1, now = 0, width = 0;

  function add(name, attributes, text = "") {
    const element = document.createElementNS(NAMESPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    svg.append(element);
    return element;
  }
  const x = (seconds) => LEFT + ((seconds - start) / (end - start)) * (width - LEFT - RIGHT);
  const y = (probability) => TOP + (1 - probability) * (HEIGHT - TOP - BOTTOM);

  function drawAxes() {
    for (const level of [0, 0.5, 1]) {
      add("line", { x1: LEFT, x2: width - RIGHT, y1: y(level), y2: y(level), class: "grid" });
      add("text", { x: LEFT - 6, y: y(level) + 4, "text-anchor": "end" }, String(level));
    }
    const most = Math.max(2, Math.floor((width - LEFT) / 80));
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
    const step = steps.find((each) => (end - start) / each <= most) || (end - start) / most;
    for (let tick = Math.ceil(start / step); tick * step <= end + 1e-9; tick += 1) {
      const seconds = tick * step, place = x(seconds);
      add("line", { x1: place, x2: place, y1: y(0), y2: y(0) + 4, class: "grid" });
      const anchor = place > width - 24 ? "end" : "middle";
      add("text", { x: place, y: HEIGHT - 6, "text-anchor": anchor }, clockText(seconds, step));
    }
  }

  function drawCurves() {
    classes.forEach((name, number) => {
      let path = "", last = null, alone = 0;
      const dot = () => { if (alone === 1) path += `M${x(last[0])},${y(last[number + 1])}h0.01`; };
      for (const point of points) {
        if (point) {
          path += `${alone ? "L" : "M"}${x(point[0]).toFixed(1)},${y(point[number + 1]).toFixed(1)}`;
          alone += 1;
        } else { dot(); alone = 0; }
        last = point || last;
      }
      dot();
      if (path) add("path", { d: path, class: `curve class-${number % 7} dash-${Math.floor(number / 7) % 3}` });
    });
  }

  let playhead;
  function draw() {
    width = slider.clientWidth;
    if (!width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    svg.setAttribute("height", HEIGHT);
    svg.replaceChildren();
    drawAxes();
    drawCurves();
    playhead = add("line", { y1: TOP, y2: y(0), class: "playhead" });
    at(now);
  }

  /* Move the playhead. */
  function at(seconds) {
    now = seconds;
    if (!playhead) return;
    const place = x(Math.min(Math.max(seconds, start), end));
    playhead.setAttribute("x1", place);
    playhead.setAttribute("x2", place);
  }

  /* Draw other curves over another stretch of time. */
  function show(newPoints, newStart, newEnd) {
    [points, start, end] = [newPoints, newStart, Math.max(newEnd, newStart + 0.04)];
    draw();
  }

  /* The seconds at a pointer's place. */
  function secondsAt(event) {
    const place = event.clientX - slider.getBoundingClientRect().left;
    const share = (place - LEFT) / (width - LEFT - RIGHT);
    return start + Math.min(Math.max(share, 0), 1) * (end - start);
  }

  new ResizeObserver(() => { if (slider.clientWidth !== width) draw(); }).observe(slider);
  return { at, show, secondsAt };
}

/* Seconds as 7.2 or 3:05, as exact as the step between ticks asks. */
function clockText(seconds, step = 0.01) {
  if (seconds < 60 && step < 60) return `${Number(seconds.toFixed(step < 0.1 ? 2 : step < 1 ? 1 : 0))} s`;
  const whole = Math.floor(seconds + 1e-6);
  const rest = String(whole % 60).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/* A row a class with a bar, as a table's body; returns what shows a point's probabilities, or that there are none. */
function makeBars(body, classes) {
  const rows = classes.map((name, number) => {
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    const track = document.createElement("div"), bar = document.createElement("div");
    track.className = "track";
    bar.className = `bar class-${number % 7}`;
    track.append(bar);
    row.insertCell().append(track);
    const value = row.insertCell();
    value.className = "number";
    return { row, bar, value };
  });
  return (point) => {
    const best = point ? Math.max(...point.slice(1)) : 2;
    rows.forEach(({ row, bar, value }, number) => {
      const probability = point ? point[number + 1] : 0;
      bar.style.width = `${100 * probability}%`;
      value.textContent = point ? probability.toFixed(2) : "–";
      row.classList.toggle("best", probability === best);
    });
  };
}
