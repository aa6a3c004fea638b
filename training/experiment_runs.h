#pragma once
// The runs of an experiment: which there are, in which order, with which configuration and in which folder,
// and how far each is.

#include <map>
#include <string>
#include <vector>

#include "training/experiment.h"

namespace rtfq::experiment {

/// What a command line adds to an experiment.
struct Invocation {
  std::string out;                           ///< folder of runs and results
  std::map<std::string, std::string> roots;  ///< "{root}" in data.source and data.target
  Settings settings;                         ///< of every run, after all others
};

struct Run {
  std::string task, method;
  uint64_t seed = 0;
  int parent = -1;             ///< the run, by position, that this one is quantized from
  std::string base = {};       ///< preset or file that training starts from
  Settings settings = {};      ///< as `rtfq train --set`; of a quantized run, as `rtfq quantize --set`
  Config config = {};          ///< complete
  std::string undefined = {};  ///< a root that the data need and nobody gave
  std::string folder = {};

  std::string id() const { return task + "/" + method + "/seed" + std::to_string(seed); }
  std::string record() const { return folder + ".json"; }
  std::string lock() const { return folder + ".lock"; }
  std::string output() const { return folder + ".log"; }  ///< what its commands wrote to stderr
};

/// Each once, in the order of the file's sets: seeds outermost, then tasks, then methods; a run that others
/// are quantized from comes before these. Throws std::invalid_argument naming the file, task and method whose
/// configuration is refused, or a quantized run whose origin is not among the runs.
std::vector<Run> list_runs(const Experiment&, const Invocation&);

/// The subnets that `rtfq eval` is to measure.
std::vector<Subnet> evaluated_subnets(const Experiment&, const Run&);

/// "target", "target held out", "target and source", ...: on what `rtfq eval` is to measure.
std::string evaluation_name(const Experiment&);

enum class State {
  missing,   ///< nothing there
  started,   ///< a part of the steps
  trained,   ///< all steps, not evaluated
  finished,  ///< evaluated
  differs,   ///< the folder holds a run with another configuration
  failed     ///< its last try ended with an error
};
const char* to_string(State);

struct RunProgress {
  State state = State::missing;
  int64_t step = 0;                    ///< of State::started
  std::vector<std::string> differing;  ///< keys, of State::differs
  std::string error;                   ///< last lines, of State::failed
};
/// Reads the run's folder and record, which may be incomplete or written by `rtfq train` and `rtfq eval` by
/// hand.
RunProgress inspect(const Experiment&, const Run&, const std::vector<Run>& all);

/// How a run came about; written beside its folder when it ends.
struct Record {
  std::string state;  ///< training, trained, finished, failed
  int64_t classes = 0;
  std::string evaluation;                      ///< what subnets.json was measured on, see evaluation_name
  double step_seconds = 0;                     ///< of all training steps, from the log
  double train_seconds = 0, eval_seconds = 0;  ///< wall clock of this record's attempts
  int exit_status = 0;
  std::vector<std::string> commands, error;  ///< error: the last lines of stderr
  std::string parent;                        ///< when the run it was quantized from had been trained
  std::map<std::string, std::string> environment;
};
/// An empty record where there is none or it cannot be read.
Record read_record(const std::string& path);
void write_record(const std::string& path, const Record&);

}  // namespace rtfq::experiment
