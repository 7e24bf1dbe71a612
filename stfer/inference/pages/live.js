"use strict";
/* The page of a camera: the newest frame, and the chosen face's curves over the last seconds; see chart.js. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const picture = document.getElementById("picture");
  const state = document.getElementById("state");
  const said = document.getElementById("said");
  const faces = document.getElementById("faces");
  const chart = makeChart(document.getElementById("timeline"), data.classes);
  const showBars = makeBars(document.getElementById("bars"), data.classes);
  const curves = new Map(); // from track to its points
  let chosen = null;

  /* A choice a face that was seen in the last seconds. */
  function listFaces() {
    const listed = [...faces.querySelectorAll("input")].map((input) => Number(input.value));
    const tracks = [...curves.keys()];
    if (String(listed) === String(tracks)) return;
    faces.querySelectorAll("label").forEach((label) => label.remove());
    if (!curves.has(chosen)) chosen = tracks.length ? tracks[0] : null;
    for (const track of tracks) {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "face", value: track, checked: track === chosen });
      input.addEventListener("change", () => { chosen = track; });
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = data.colours[(track - 1) % data.colours.length];
      label.append(input, swatch, String(track));
      faces.append(label);
    }
  }

  const stream = new EventSource("events");
  stream.onmessage = (event) => {
    const frame = JSON.parse(event.data);
    if (frame.ended) {
      stream.close();
      state.textContent = "The input has ended.";
      return;
    }
    picture.src = frame.picture;
    picture.dataset.read = frame.read; // milliseconds of the program's clock, for who measures until it is shown
    state.textContent = `${frame.rate.toFixed(1)} frames a second, answered in ${Math.round(frame.latency)} ms`;
    for (const [track, points] of curves) {
      while (points.length && (!points[0] || points[0][0] < frame.seconds - data.span)) points.shift();
      if (!points.length) curves.delete(track);
    }
    for (const face of frame.faces) {
      if (!curves.has(face.track)) curves.set(face.track, []);
      const points = curves.get(face.track);
      if (face.point || points.at(-1)) points.push(face.point);
    }
    listFaces();
    const point = (frame.faces.find((face) => face.track === chosen) || {}).point || null;
    showBars(point);
    said.textContent = point ? data.classes[point.indexOf(Math.max(...point.slice(1)), 1) - 1] : "No clip of this face now";
    chart.show(curves.get(chosen) || [], Math.max(0, frame.seconds - data.span), Math.max(1, frame.seconds));
    chart.at(frame.seconds);
  };
  stream.onerror = () => { state.textContent = "The program that served this page has stopped."; };
})();
