// A run's checkpoint: one safetensors file. Tensors "student/NAME", "momentum/NAME", "teacher/NAME",
// "norms/NAME" and "shares/NAME" (averages of the classes' shares); metadata with the configuration, the
// classes and the step. Sampler, data order and augmentation are functions of seed and step.
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <unordered_map>

#include "engine/json.h"
#include "engine/safetensors.h"
#include "kernels/runtime/device.h"
#include "training/phases.h"
#include "training/trainer_state.h"

namespace rtfq {
namespace {

constexpr const char* format = "rtfq-checkpoint-1";

/// The tensors of a loaded file by name.
class Index {
 public:
  Index(const TensorFile& file, std::string path) : path_(std::move(path)) {
    for (const auto& [name, tensor] : file.tensors) tensors_[name] = &tensor;
  }
  void restore(const std::string& name, const Tensor& into) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::runtime_error("[checkpoint] " + path_ + " has no tensor " + name);
    if (found->second->dims() != into.dims())
      throw std::runtime_error("[checkpoint] " + path_ + ": " + name + " is " +
                               to_string(found->second->dims()) + ", the network expects " +
                               to_string(into.dims()));
    into.copy_from(*found->second);
  }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// A tensor that need not be there: undefined.
  Tensor optional(const std::string& name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? Tensor() : *found->second;
  }

 private:
  std::string path_;
  std::unordered_map<std::string, const Tensor*> tensors_;
};

const std::string& metadata(const TensorFile& file, const std::string& key, const std::string& path) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end())
    throw std::runtime_error("[checkpoint] " + path + " is not a checkpoint of rtfq: its metadata lacks '" +
                             key + "'");
  return found->second;
}

struct Header {
  Config config;
  std::vector<std::string> classes;
  int64_t step = 0;
  bool finished = false;
  std::string pretrained;  ///< record_of (training/start.h)
  double rate_factor = 1;  ///< Trainer::slow_down
};

/// A whole text that is a number of at least `least`.
template <class Number>
Number number_of(const std::string& text, Number least, const std::string& key, const std::string& path) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number >= least))
    throw std::runtime_error("[checkpoint] " + path + ": its " + key + " is '" + text + "'");
  return number;
}

Header header_of(const TensorFile& file, const std::string& path) {
  if (metadata(file, "format", path) != format)
    throw std::runtime_error("[checkpoint] " + path + " has format " + metadata(file, "format", path) +
                             ", expected " + format);
  Header header;
  header.config = parse_config(metadata(file, "config", path), path);
  header.step = number_of<int64_t>(metadata(file, "step", path), 0, "step", path);
  header.finished = metadata(file, "finished", path) == "true";
  const auto classes = parse_json(metadata(file, "classes", path));
  if (!classes.is_array() ||
      !std::all_of(classes.begin(), classes.end(), [](const Json& name) { return name.is_string(); }))
    throw std::runtime_error("[checkpoint] " + path + ": its list of classes is damaged");
  for (const auto& name : classes) header.classes.push_back(name.get<std::string>());
  if (const auto found = file.metadata.find("rate_factor"); found != file.metadata.end())
    header.rate_factor = number_of<double>(found->second, 0, "rate_factor", path);
  if (const auto found = file.metadata.find("pretrained"); found != file.metadata.end())
    header.pretrained = found->second;
  return header;
}

std::map<std::string, std::string> metadata_of(const Header& header) {
  std::map<std::string, std::string> metadata{{"format", format},
                                              {"config", to_json(header.config)},
                                              {"step", std::to_string(header.step)},
                                              {"finished", header.finished ? "true" : "false"},
                                              {"classes", print_json(Json(header.classes))}};
  if (!header.pretrained.empty()) metadata["pretrained"] = header.pretrained;
  if (header.rate_factor != 1) metadata["rate_factor"] = print_json(Json(header.rate_factor));
  return metadata;
}

void add_network(TensorFile& file, const Supernet& network) {
  for (const Parameter* p : network.parameters())
    file.tensors.emplace_back("student/" + p->name, p->value.to({}));
  for (auto& [name, tensor] : network.buffers()) file.tensors.emplace_back("norms/" + name, tensor.to({}));
}

void restore_network(const Index& index, Supernet& network) {
  for (Parameter* p : network.parameters()) index.restore("student/" + p->name, p->value);
  for (auto& [name, tensor] : network.buffers()) index.restore("norms/" + name, tensor);
  network.values_loaded();
}

}  // namespace

Trainer::State::State(const Config& config_) : config(config_) {
  if (config.threads > 0) kernels::runtime::set_threads(config.threads);
  data = open_training_data(config);
  classes = data.source.classes;
  const auto options = supernet_options(config, static_cast<int64_t>(classes.size()));
  student = std::make_unique<Supernet>(options, config.train.seed);
  optimizer = std::make_unique<Optimizer>(*student, config.optimizer);
  source = std::make_unique<data::Loader>(data.source, loader_options(config, Domain::source, true));
  if (data.target.samples.empty()) return;
  teacher = std::make_unique<Supernet>(options, config.train.seed);
  teacher->drop_gradients();
  auto target_options = loader_options(config, Domain::target, true);
  target_options.plain_view = config.train.teacher_view == "plain";
  target = std::make_unique<data::Loader>(data.target, target_options);
}

void Trainer::State::move_to_device() {
  const Device device = device_of(config);
  student->move_to(device);
  if (teacher) teacher->move_to(device);
  if (config.graphs) graphs = std::make_unique<PassGraphs>(*student, config);
  images = std::make_unique<DeviceImages>(device, config.data.mean, config.data.deviation);
}

void Trainer::State::enter_phase(const std::string& phase) {
  const TrainConfig& train = config.train;
  const int64_t adapts_from = rtfq::adapts_from(train);
  const auto go_to = [](data::Loader& loader, int64_t position) {
    if (loader.step() != static_cast<uint64_t>(position)) loader.seek(static_cast<uint64_t>(position));
  };
  go_to(*source, step);
  if (phase == "adapt") go_to(*target, step - adapts_from);
  const bool quantized_starts = step == train.float_steps, adapting_starts = step == adapts_from;
  if (phase == "float" || !(quantized_starts || adapting_starts)) return;
  // What has not been trained yet begins where the largest network, then each architecture's source norm,
  // stands.
  for (SwitchableNorm* norm : student->norms()) {
    if (quantized_starts && step > 0) norm->spread_affine();
    norm->copy_affine(Domain::source, Domain::target);
  }
  if (adapting_starts) teacher->copy_parameters(*student);
}

void Trainer::save(const std::string& checkpoint, const std::string& previous) const {
  const State& s = *state_;
  TensorFile file;
  add_network(file, *s.student);
  for (const Parameter* p : s.student->parameters())
    file.tensors.emplace_back("momentum/" + p->name, p->momentum.to({}));
  if (s.teacher)
    for (const Parameter* p : s.teacher->parameters())
      file.tensors.emplace_back("teacher/" + p->name, p->value.to({}));
  for (const auto& [name, shares] :
       {std::pair{"shares/student", &s.shares.student}, {"shares/teacher", &s.shares.teacher}})
    if (shares->defined()) file.tensors.emplace_back(name, shares->to({}));
  file.metadata = metadata_of({s.config, s.classes, s.step, finished(), s.pretrained, s.rate_factor});
  save_tensors(checkpoint, file, previous);
}

void save_network(const std::string& checkpoint, const TrainedBank& bank) {
  TensorFile file;
  add_network(file, *bank.network);
  file.metadata = metadata_of({bank.config, bank.classes, bank.step, bank.finished, bank.pretrained, 1});
  save_tensors(checkpoint, file);
}

std::unique_ptr<Trainer> Trainer::resume(const std::string& checkpoint, const Config* config) {
  const TensorFile file = load_tensors(checkpoint);
  const Header header = header_of(file, checkpoint);
  Config merged = header.config;
  if (config) {
    merged.data.source = config->data.source;
    merged.data.target = config->data.target;
    merged.data.threads = config->data.threads;
    merged.data.cache_dir = config->data.cache_dir;
    merged.data.evaluation = config->data.evaluation;
    merged.data.outside_paths = config->data.outside_paths;
    merged.train.max_loss = config->train.max_loss;
    merged.train.on_divergence = config->train.on_divergence;
    merged.threads = config->threads;
    merged.device = config->device;
  }
  auto state = std::make_unique<State>(merged);
  if (state->classes != header.classes)
    throw std::runtime_error("[checkpoint] " + checkpoint + " was trained on other classes than " +
                             merged.data.source + " has");
  const Index index(file, checkpoint);
  if (!index.has("momentum/" + state->student->parameters().front()->name))
    throw std::invalid_argument(
        "[checkpoint] " + checkpoint +
        " holds a network without training state, as `rtfq quantize` writes it: there is "
        "nothing to resume");
  restore_network(index, *state->student);
  for (Parameter* p : state->student->parameters()) index.restore("momentum/" + p->name, p->momentum);
  if (state->teacher) {
    for (Parameter* p : state->teacher->parameters()) index.restore("teacher/" + p->name, p->value);
    state->teacher->values_loaded();
  }
  state->step = header.step;
  state->pretrained = header.pretrained;
  state->rate_factor = header.rate_factor;
  state->move_to_device();
  const Device device = state->student->device();
  state->shares = {index.optional("shares/student").to(device), index.optional("shares/teacher").to(device)};
  return std::unique_ptr<Trainer>(new Trainer(std::move(state)));
}

TrainedBank load_bank(const std::string& checkpoint, const std::string& device) {
  const TensorFile file = load_tensors(checkpoint);
  Header header = header_of(file, checkpoint);
  header.config.device = device;
  TrainedBank bank{header.config, nullptr, header.classes, header.step, header.finished, header.pretrained};
  bank.network = std::make_unique<Supernet>(
      supernet_options(header.config, static_cast<int64_t>(header.classes.size())), header.config.train.seed);
  restore_network(Index(file, checkpoint), *bank.network);
  bank.network->move_to(device_of(bank.config));
  return bank;
}

std::unique_ptr<Supernet> load_teacher(const std::string& checkpoint, const std::string& device) {
  const TensorFile file = load_tensors(checkpoint);
  Header header = header_of(file, checkpoint);
  header.config.device = device;
  const TrainConfig& train = header.config.train;
  if (header.step <= adapts_from(train)) return nullptr;
  auto teacher = std::make_unique<Supernet>(
      supernet_options(header.config, static_cast<int64_t>(header.classes.size())), train.seed);
  teacher->drop_gradients();
  const Index index(file, checkpoint);
  if (!index.has("teacher/" + teacher->parameters().front()->name))
    return nullptr;  // as `rtfq quantize` writes it
  for (Parameter* p : teacher->parameters()) index.restore("teacher/" + p->name, p->value);
  teacher->values_loaded();
  teacher->move_to(device_of(header.config));
  return teacher;
}

void save_bank(const std::string& checkpoint, TrainedBank& bank) {
  TensorFile file = load_tensors(checkpoint);
  std::unordered_map<std::string, Tensor> norms;
  for (auto& [name, tensor] : bank.network->buffers()) norms["norms/" + name] = tensor.to({});
  for (auto& [name, tensor] : file.tensors) {
    const auto found = norms.find(name);
    if (found != norms.end()) tensor = found->second;
  }
  save_tensors(checkpoint, file);
}

}  // namespace rtfq
