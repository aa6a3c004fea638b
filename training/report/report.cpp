#include "training/report/report.h"

#include <algorithm>
#include <cmath>

#include "engine/safetensors.h"
#include "training/environment.h"
#include "training/report/page.h"
#include "training/report/text.h"

namespace rtfq::report {
namespace {

double seconds_of(const RunData& run) {
  double sum = 0;
  for (const LoggedStep& entry : run.log)
    if (std::isfinite(entry.seconds)) sum += entry.seconds;
  return sum;
}

std::string cost_text(const SubnetScore& s) {
  return quantity(static_cast<double>(s.cost.bitops)) + " BitOPs, " +
         bytes(static_cast<double>(s.cost.bytes));
}

std::vector<SubnetScore> measured(const RunData& run) {
  std::vector<SubnetScore> out;
  for (const SubnetScore& s : run.scores)
    if (s.accuracy) out.push_back(s);
  return out;
}

std::string percent(double value) {
  return fixed(value, 2) + " %";
}

std::vector<Tile> tiles_of(const RunData& run) {
  std::vector<Tile> out;
  const auto scores = measured(run);
  if (run.source_only()) {
    if (!scores.empty())
      out.push_back({percent(*scores.front().accuracy), "on the target, without adaptation"});
  } else if (!scores.empty()) {
    const auto less = [](const SubnetScore& a, const SubnetScore& b) { return *a.accuracy < *b.accuracy; };
    const auto best = std::max_element(scores.begin(), scores.end(), less);
    const auto worst = std::min_element(scores.begin(), scores.end(), less);
    double sum = 0;
    for (const SubnetScore& s : scores) sum += *s.accuracy;
    out.push_back({percent(*best->accuracy), "best: " + id(best->subnet) + ", " + cost_text(*best)});
    out.push_back({percent(sum / static_cast<double>(scores.size())),
                   "mean of " + std::to_string(scores.size()) + " subnets"});
    out.push_back({percent(*worst->accuracy), "worst: " + id(worst->subnet) + ", " + cost_text(*worst)});
  }
  if (run.log.empty()) return out;
  const double seconds = seconds_of(run);
  double images = 0;
  for (const LoggedStep& entry : run.log)
    if (std::isfinite(entry.images)) images += entry.images;
  out.push_back({duration(seconds),
                 whole(run.last_step()) + " of " + whole(run.config.train.steps) + " training steps"});
  if (seconds > 0) out.push_back({fixed(images / seconds, 0), "images a second in training"});
  return out;
}

std::string progress(const RunData& run) {
  if (run.finished()) return "";
  const std::string done = std::to_string(run.last_step()), all = std::to_string(run.config.train.steps);
  std::string text = "Step " + whole(run.last_step()) + " of " + whole(run.config.train.steps);
  if (!run.log.empty()) {
    const std::size_t recent = std::min<std::size_t>(run.log.size(), 50);
    double seconds = 0;
    for (std::size_t i = run.log.size() - recent; i < run.log.size(); ++i) seconds += run.log[i].seconds;
    const double left =
        seconds / static_cast<double>(recent) * static_cast<double>(run.config.train.steps - run.last_step());
    text += ", phase " + run.log.back().phase;
    if (std::isfinite(left)) text += ", at the present pace " + duration(left) + " to go";
  }
  return "<p>" + escape(text) + ".<br><progress value=\"" + done + "\" max=\"" + all + "\"></progress></p>\n";
}

std::string task(const RunData& run) {
  const Config& c = run.config;
  std::string out = c.model.arch + ", ";
  if (run.source_only())
    out += "one full-precision network that never sees the target";
  else
    out += std::to_string(c.model.bank.subnets().size()) + " subnets of one training";
  return out + "; source " + c.data.source + (c.data.target.empty() ? "" : ", target " + c.data.target);
}

/// "2026-11-23T14:05:09Z" as "2026-11-23 14:05 UTC".
std::string date_text(const std::string& date) {
  return date.size() == 20 && date[10] == 'T' ? date.substr(0, 10) + " " + date.substr(11, 5) + " UTC" : date;
}

std::string title_of(const ReportInput& input) {
  std::string out = "rtfq: ";
  for (std::size_t i = 0; i < input.runs.size(); ++i) out += (i ? ", " : "") + input.runs[i].name;
  return out;
}

}  // namespace

std::string summary_section(const ReportInput& input) {
  std::string out = "<h1>" + escape(title_of(input)) + "</h1>\n";
  for (const RunData& run : input.runs) {
    if (input.runs.size() > 1) out += "<h3>" + escape(run.name) + "</h3>\n";
    out += "<p class=\"muted\">" + escape(task(run)) + "</p>\n" + progress(run);
    const auto all = tiles_of(run);
    if (!all.empty()) out += tiles(all);
    out += notes("note", run.missing);
  }
  for (const auto& [folder, probe] : input.probes) out += notes("warning", probe.warnings());
  return out;
}

std::string facts_section(const RunData& run) {
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.emplace_back("folder", run.paths.folder);
  pairs.emplace_back("source", run.config.data.source);
  if (!run.config.data.target.empty()) pairs.emplace_back("target", run.config.data.target);
  if (run.sessions.empty()) pairs.emplace_back("trained", "not recorded: sessions.jsonl is missing");
  for (const Session& s : run.sessions) {
    const std::string when = run.sessions.size() > 1 ? "from step " + whole(s.from_step) : "trained";
    pairs.emplace_back(when, date_text(s.started) + (s.ended.empty() ? "" : " to " + date_text(s.ended)) +
                                 (s.how.empty() ? "" : ", " + s.how));
    pairs.emplace_back("built from", "rtfq " + s.version + ", commit " + s.commit);
    pairs.emplace_back("machine",
                       s.cpu + ", " + std::to_string(s.threads) + (s.threads == 1 ? " thread" : " threads"));
    pairs.emplace_back(
        "data", whole(s.source_images) + " source images, " +
                    (s.target_images ? whole(s.target_images) + " target images" : "no target images") +
                    ", " + whole(s.classes) + " classes");
  }
  const auto now = environment(0);
  pairs.emplace_back("this report", date_text(now.at("date")) + " by rtfq " + now.at("version") +
                                        ", commit " + now.at("commit"));
  return facts(pairs) + folded("Configuration", "<pre>" + escape(commented(run.config)) + "</pre>\n");
}

std::string render(const ReportInput& input) {
  const bool several = input.runs.size() > 1;
  std::string body = summary_section(input) + accuracy_section(input);
  std::string curves, quantizers, pictures, tables, about;
  const auto headed = [&](const RunData& run, const std::string& html) {
    return html.empty() ? "" : (several ? "<h3>" + escape(run.name) + "</h3>\n" : std::string()) + html;
  };
  bool first = true;
  for (const RunData& run : input.runs) {
    const auto probe = input.probes.find(run.paths.folder);
    curves += curves_section(run, first);
    quantizers += step_size_section(run, first);
    if (probe != input.probes.end()) {
      quantizers += headed(run, codes_section(probe->second));
      pictures += headed(run, pictures_section(probe->second));
    }
    tables += headed(run, subnet_table(run));
    about += headed(run, facts_section(run));
    first = false;
  }
  body += section("Training", curves);
  body += section("Quantizers", quantizers);
  body += section("Images", pictures);
  if (!tables.empty())
    body += section(
        "All subnets",
        paragraph("Sorted by BitOPs; in bold those that no cheaper subnet equals or beats.") + tables);
  body += section("About", about);
  return document(title_of(input), body, input.refresh);
}

void write_running_report(const RunPaths& paths) {
  ReportInput input;
  input.runs.push_back(read_run(paths.folder, "rtfq"));
  const RunData& run = input.runs.front();
  if (!run.finished()) input.refresh = static_cast<int>(std::max(10.0, run.config.train.report_every));
  write_file_atomically(paths.report(), render(input));
}

}  // namespace rtfq::report
