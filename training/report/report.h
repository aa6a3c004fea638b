#pragma once
// One HTML file about one or several runs: self-contained, without scripts, light and dark.

#include <map>
#include <string>
#include <vector>

#include "training/report/probe.h"
#include "training/report/run_data.h"

namespace rtfq::report {

struct ReportInput {
  std::vector<RunData> runs;
  std::map<std::string, Probe> probes;  ///< by folder, of the runs that were looked at
  std::string program = "rtfq";         ///< how this process was called, for suggested commands
  int refresh = 0;                      ///< seconds after which a browser loads the page anew; 0: never
};

/// The whole document.
std::string render(const ReportInput&);

/// Writes RUN/report.html while a run goes on: from its files alone, without forward passes, atomically.
void write_running_report(const RunPaths&);

// Sections, each markup or empty.
std::string summary_section(const ReportInput&);
std::string accuracy_section(const ReportInput&);
std::string curves_section(const RunData&, bool open);
std::string step_size_section(const RunData&, bool open);
std::string codes_section(const Probe&);
std::string pictures_section(const Probe&);
std::string subnet_table(const RunData&);
std::string facts_section(const RunData&);

}  // namespace rtfq::report
