#include "design/report.h"

#include <cstdio>

#include "design/markup.h"

namespace imagecalc {
namespace {

constexpr const char* kStyle = R"css(
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1480px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } td, th { padding: .2em .9em .2em 0; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); gap: 1em; align-items: start; }
.plots svg { border: 1px solid #ddd; width: 100%; height: auto; }
.budgets { display: grid; grid-template-columns: 9em 1fr 9em; gap: .4em 1em; max-width: 720px; align-items: center; }
#pick { background: #f4f6f9; border-left: 4px solid #1d4e89; padding: .6em 1em; margin: 1em 0; max-width: 690px; }
.pictures { display: grid; gap: .5em; } .pictures img { width: 160px; height: 160px; object-fit: contain; background: #eee; }
.pictures div { font-size: .85em; }
)css";

// Picks as the design does: the most accurate within the budgets, then the fastest, then the smallest.
constexpr const char* kScript = R"js(
const formats = JSON.parse(document.getElementById('formats').textContent)
  .map(([name, accuracy, low, high, latency, bytes, measured]) => ({name, accuracy, low, high, latency, bytes, measured}));
const plots = [...document.querySelectorAll('.plots svg[data-x]')].slice(0, 2);
const costs = [format => format.latency, format => format.bytes];
const rings = plots.map(plot => {
  const ring = document.createElementNS(plot.namespaceURI, 'circle');
  ring.setAttribute('r', 9);
  ring.setAttribute('fill', 'none');
  ring.setAttribute('stroke', '#be185d');
  ring.setAttribute('stroke-width', 2.5);
  plot.append(ring);
  return ring;
});
const show = value => value >= 100 ? Math.round(value).toString() : value.toPrecision(3);
const percent = value => (100 * value).toFixed(1) + ' %';

function place(ring, plot, cost, accuracy) {
  const [left, right, first, last] = plot.dataset.x.split(' ').map(Number);
  const [bottom, top, lowest, highest] = plot.dataset.y.split(' ').map(Number);
  ring.setAttribute('cx', left + (right - left) * (Math.log(cost) - first) / (last - first));
  const at = Math.min(highest, Math.max(lowest, accuracy));
  ring.setAttribute('cy', bottom - (bottom - top) * (at - lowest) / (highest - lowest));
}

// A slider's position, 0 to 1000, stands for the logarithm of a budget between the least and the greatest cost.
function budget(id, cost) {
  const values = formats.map(cost), least = Math.min(...values), most = Math.max(...values);
  const position = document.getElementById(id).value / 1000;
  return least * Math.pow(most / least, position) * (1 + 1e-9);
}

function update() {
  const latency = budget('latency', costs[0]), bytes = budget('storage', costs[1]);
  document.getElementById('latency-value').textContent = show(latency) + ' us an image';
  document.getElementById('storage-value').textContent = show(bytes) + ' bytes an image';
  let best = null;
  for (const format of formats) {
    if (format.latency > latency || format.bytes > bytes) continue;
    const order = best && (format.accuracy - best.accuracy || best.latency - format.latency || best.bytes - format.bytes);
    if (!best || order > 0) best = format;
  }
  const pick = document.getElementById('pick');
  rings.forEach(ring => ring.setAttribute('visibility', best ? 'visible' : 'hidden'));
  if (!best) { pick.textContent = 'No format meets both budgets.'; return; }
  const interval = best.measured ? 'measured' : percent(best.low) + ' to ' + percent(best.high);
  pick.textContent = `${best.name}: ${percent(best.accuracy)} (${interval}), ${show(best.latency)} us, ${show(best.bytes)} bytes an image`;
  rings.forEach((ring, i) => place(ring, plots[i], costs[i](best), best.accuracy));
}
for (const slider of document.querySelectorAll('input[type=range]')) slider.addEventListener('input', update);
update();
)js";

constexpr const char* kLegend = R"html(<p>Dark dots are formats that were trained, pale ones are predicted. The line is the best accuracy at
each cost, its shade where nine of ten trainings end; the black ring is the format that was chosen, the pink one what the sliders pick. In red,
the network on RGB from JPEG files. Buckets are the formats in the order of their bytes, in equal parts; a bar is what is predicted of one, from
the worst format to the best, and the line their mean. Rest the pointer on a dot to see what it is.</p>
)html";

void add_facts(std::string& page, const Report& report) {
  page += "<table>\n";
  for (const auto& [what, how_much] : report.facts) {
    page += "<tr><td>" + escaped(what) + "</td><td class='number'>" + escaped(how_much) + "</td></tr>\n";
  }
  page += "</table>\n";
}

void add_budgets(std::string& page) {
  page += "<h2>What if?</h2>\n<div class='budgets'>\n";
  for (const char* id : {"latency", "storage"}) {
    const std::string name(id);
    page += "<label for='" + name + "'>" + name + " at most</label><input type='range' id='" + name +
            "' min='0' max='1000' value='1000'><span id='" + name + "-value'></span>\n";
  }
  page += "</div>\n<div id='pick'></div>\n";
}

// Numbers with the digits that are shown, and some.
void add_formats(std::string& page, const std::vector<ReportFormat>& formats) {
  page += "<script type='application/json' id='formats'>[";
  for (std::size_t i = 0; i < formats.size(); ++i) {
    const ReportFormat& format = formats[i];
    char numbers[160];
    std::snprintf(numbers, sizeof numbers, "\",%.4f,%.4f,%.4f,%.5g,%.5g,%s]", format.accuracy, format.low, format.high,
                  format.latency_us, format.bytes, format.measured ? "true" : "false");
    page += (i ? ",\n[\"" : "\n[\"") + escaped(format.name) + numbers;
  }
  page += "]</script>\n";
}

void add_pictures(std::string& page, const Report& report) {
  if (report.pictures.empty()) return;
  const auto image = [](const std::string& base64) { return "<img alt='' src='data:image/jpeg;base64," + base64 + "'>"; };
  page += "<h2>Pictures rebuilt</h2>\n<div class='pictures' style='grid-template-columns: repeat(" +
          std::to_string(report.rebuilt.size() + 1) + ", 170px)'>\n<div>as they are</div>";
  for (const std::string& name : report.rebuilt) page += "<div>" + escaped(name) + "</div>";
  for (const ReportPicture& picture : report.pictures) {
    page += "\n" + image(picture.original);
    for (const std::string& rebuilt : picture.rebuilt) page += image(rebuilt);
  }
  page += "\n</div>\n";
}

}  // namespace

std::string write_page(const Report& report) {
  std::string page = "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n<title>" + escaped(report.title) +
                     "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<h1>" + escaped(report.title) + "</h1>\n";
  add_facts(page, report);
  add_budgets(page);
  page += "<div class='plots'>\n";
  for (const std::string& plot : report.plots) page += plot;
  page += "</div>\n";
  page += kLegend;
  add_pictures(page, report);
  add_formats(page, report.formats);
  return page + "<script>" + kScript + "</script>\n</body>\n</html>\n";
}

}  // namespace imagecalc
