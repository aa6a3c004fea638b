#include "tools/bench/lab.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "tools/bench/process.h"
#include "tools/command.h"

namespace rtfq::lab {
namespace {

std::string last_lines(const std::string& output) {
  std::string text = output;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (const std::size_t line = text.rfind('\n', text.size() > 300 ? text.size() - 300 : 0);
      text.size() > 300 && line != text.npos)
    text = text.substr(line + 1);
  return text;
}

std::string end_text(const WorkerEnd& end) {
  std::string text = end.message;
  if (!end.phase.empty()) text += ", while " + end.phase;
  const std::string said = last_lines(end.output);
  if (!said.empty()) text += "; it wrote: " + said;
  return text;
}

const Offered* offered(const std::vector<Offered>& known, const Item& item) {
  for (const Offered& one : known)
    if (one.op == item.op && one.implementation == item.implementation &&
        one.device == kernels::to_string(kernels::parse_device(item.device).backend))
      return &one;
  return nullptr;
}

/// The command that repeats what came of a row, from any folder: `case_name` of the catalog, or its own
/// shape. What happened while it was timed needs the timing again.
std::string repeat_command(const Item& item, const std::string& case_name, bool timing,
                           const Settings& settings, const std::vector<Offered>& known) {
  namespace fs = std::filesystem;
  const Offered* offer = offered(known, item);
  std::string implementation = item.implementation;
  if (offer && !offer->file.empty()) {
    Offered there = *offer;
    there.file = fs::absolute(there.file).lexically_normal().string();
    implementation = spoken_name(there);
  }
  const bool is_path = program.find('/') != program.npos && program.find('\'') == program.npos;
  std::string text = (is_path ? fs::absolute(program).lexically_normal().string() : program) + " run --op " +
                     item.op + " --impl " + cli::shell_word(implementation);
  const auto add = [&](const char* option, double value, double otherwise) {
    std::ostringstream number;
    number << value;
    if (value != otherwise) text += std::string(" ") + option + " " + number.str();
  };
  if (item.device != "cpu") text += " --device " + item.device;
  if (!case_name.empty() || !item.catalog_case.empty()) {
    text += " --case " + (case_name.empty() ? item.catalog_case : case_name);
  } else {
    text += " --shape " + dims_as_text(item.dims);
    if (item.bits) text += " --bits " + std::to_string(item.bits) + (item.is_signed ? "s" : "");
    if (item.dtype != "f32") text += " --dtype " + item.dtype;
    if (item.data != "normal") text += " --data " + cli::shell_word(item.data);
    if (settings.verify_elements == small_elements) text += " --verify-small";
  }
  const Settings usual;
  add("--threads", settings.threads, usual.threads);
  add("--limit", settings.limit, usual.limit);
  if (item.device == "simt") add("--seeds", settings.simt_seeds, usual.simt_seeds);
  if (!timing) return text + " --verify-only";
  add("--samples", settings.samples, usual.samples);
  add("--sample-seconds", settings.sample_seconds, usual.sample_seconds);
  add("--seconds", settings.seconds, usual.seconds);
  if (settings.cold) text += " --cold";
  if (settings.warm) text += " --warm";
  return text;
}

/// The case that a phase "OP case NAME by ..." speaks of.
std::string case_in(const std::string& phase, const Item& item) {
  const std::string begin = item.op + " case ", end = " by " + item.implementation;
  if (phase.rfind(begin, 0) != 0 || phase.find(end) == phase.npos) return "";
  const std::string name = phase.substr(begin.size(), phase.find(end) - begin.size());
  return name == item.case_text() ? "" : name;
}

std::string who(const Item& item) {
  return item.op + "/" + item.implementation + "/" + item.device;
}

}  // namespace

std::string spoken_name(const Offered& offer) {
  if (offer.file.empty()) return offer.implementation;
  return "plugin:" + offer.file + (offer.alone ? "" : ":" + offer.name);
}

std::vector<std::string> files_of(const std::vector<Offered>& known) {
  std::vector<std::string> files;
  for (const Offered& one : known)
    if (!one.file.empty() && std::find(files.begin(), files.end(), one.file) == files.end())
      files.push_back(one.file);
  return files;
}

std::vector<Offered> offers(const std::vector<std::string>& plugins) {
  std::vector<Offered> found;
  const WorkerEnd end = run_worker({{"request", "offers"}, {"plugins", plugins}}, [&](const json& event) {
    if (event.contains("offers")) found = event["offers"].get<std::vector<Offered>>();
  });
  if (end.how == WorkerEnd::How::failed) throw std::invalid_argument(end.message);
  if (end.how != WorkerEnd::How::done) throw std::invalid_argument("[plugin] " + end_text(end));
  return found;
}

std::vector<Row> measure(const std::vector<Item>& items, const std::vector<Offered>& known,
                         const Settings& settings, const std::function<void(const Row&)>& done,
                         const Output& output) {
  std::vector<Row> rows(items.size());
  std::map<std::string, Row> ended;  // what crashed or hung, by implementation
  std::size_t next = 0;
  const auto finish = [&](std::size_t i, Row row) {
    if (row.outcome == Outcome::wrong || row.outcome == Outcome::crashed || row.outcome == Outcome::hung ||
        row.outcome == Outcome::failed)
      row.repeat = repeat_command(row.item, row.repeat,
                                  row.message.find(", while timing ") != std::string::npos, settings, known);
    else
      row.repeat.clear();
    rows[i] = std::move(row);
    done(rows[i]);
  };
  while (next < items.size()) {
    std::vector<Item> batch;
    std::vector<std::size_t> places;
    for (std::size_t i = next; i < items.size(); ++i) {
      if (ended.count(who(items[i]))) continue;
      batch.push_back(items[i]);
      places.push_back(i);
    }
    // What needs no worker any more, up to the first that does.
    const auto repeat_ended = [&](std::size_t until) {
      for (; next < until; ++next) {
        Row row = ended.at(who(items[next]));
        row.item = items[next];
        finish(next, std::move(row));
      }
    };
    if (batch.empty()) {
      repeat_ended(items.size());
      break;
    }
    std::optional<std::size_t> running;
    const json request{{"request", "run"},
                       {"plugins", files_of(known)},
                       {"items", batch},
                       {"settings", settings},
                       {"limit", settings.limit}};
    const WorkerEnd end = run_worker(
        request,
        [&](const json& event) {
          if (event.contains("start")) running = event["start"].get<std::size_t>();
          if (!event.contains("row")) return;
          const std::size_t i = places[event["row"].get<std::size_t>()];
          repeat_ended(i);
          finish(i, event["result"].get<Row>());
          next = i + 1;
          running.reset();
        },
        output);
    if (end.how == WorkerEnd::How::done) {
      repeat_ended(items.size());
      break;
    }
    if (!running) throw std::runtime_error("[lab] " + end_text(end));
    const Item& item = items[places[*running]];
    Row row;
    row.item = item;
    row.outcome = end.how == WorkerEnd::How::crashed ? Outcome::crashed
                  : end.how == WorkerEnd::How::hung  ? Outcome::hung
                                                     : Outcome::failed;
    row.message = end_text(end);
    row.repeat = case_in(end.phase, item);
    ended[who(item)] = row;
    repeat_ended(places[*running]);
    finish(places[*running], row);
    next = places[*running] + 1;
  }
  return rows;
}

json compare(const json& request) {
  json answer;
  const WorkerEnd end = run_worker(request, [&](const json& event) {
    if (event.contains("pairs")) answer = event["pairs"];
  });
  if (end.how != WorkerEnd::How::done) throw std::runtime_error("[compare] " + end_text(end));
  return answer;
}

}  // namespace rtfq::lab
