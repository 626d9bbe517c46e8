// Draws every chart of the page: a chart is an element with the class "chart", beside it its specification as JSON.
"use strict";
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = (window.gradcamViews = {});

  const config = () => {
    const [ink, soft, line] = ["ink", "soft", "line"].map(colour);
    const font = getComputedStyle(document.body).fontFamily;
    const phases = ["load", "inference", "explanation", "store"].map(colour);
    return {
      background: null, font,
      axis: { labelColor: soft, titleColor: soft, gridColor: line, labelFont: font, titleFont: font, domainColor: line, tickColor: line, titleFontWeight: "normal" },
      legend: { labelColor: soft, titleColor: soft },
      text: { color: ink, fill: ink, font },
      view: { stroke: null },
      range: { category: phases, ramp: [colour("area-low"), colour("area-high")] },
    };
  };

  const draw = async (chart) => {
    const spec = JSON.parse(document.getElementById(`${chart.id}-spec`).textContent);
    const options = { actions: false, renderer: "canvas", config: config(), tooltip: { theme: dark.matches ? "dark" : "light" } };
    try {
      views[chart.id]?.finalize();
      views[chart.id] = (await vegaEmbed(chart, spec, options)).view;
      chart.dataset.drawn = "yes";
    } catch (error) {
      chart.textContent = "This chart could not be drawn; the table below has its figures.";
      console.error(error);
    }
  };

  const all = () => Promise.all([...document.querySelectorAll(".chart")].map(draw));
  const zoom = (button) => {
    const view = views[button.dataset.chart];
    const [first, last] = view.signal("shown");
    const factor = Number(button.dataset.zoom);
    const middle = (first + last) / 2;
    view.signal("asked", factor ? [middle - (middle - first) * factor, middle + (last - middle) * factor] : view.signal("whole")).runAsync();
  };
  for (const button of document.querySelectorAll("button[data-zoom]")) button.addEventListener("click", () => zoom(button));
  dark.addEventListener("change", all);
  all().then(() => (document.documentElement.dataset.drawn = "yes"));
})();
