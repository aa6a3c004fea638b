#include "kernels/plugin/python.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "kernels/plugin/python_script.h"
#include "kernels/shapes.h"

namespace rtfq::kernels::plugin {
namespace {

using json = nlohmann::json;

[[noreturn]] void fail(const std::string& text) {
  throw std::runtime_error("[plugin] " + text);
}

/// One operand of a launch: where it is here, and what Python sees of it.
struct Operand {
  const char* name;
  const void* data;  ///< null: not wanted
  std::size_t bytes;
  bool output;
  json seen;  ///< type, shape, strides
};

/// What one launch is, in the terms of all families.
struct Call {
  json shape, scalars = json::object();
  std::vector<Operand> operands;
};

/// The interpreter and the memory shared with it.
class Process {
 public:
  explicit Process(const std::string& file) : file_(file) {
    memory_ = ::memfd_create("rtfq-plugin", MFD_CLOEXEC);
    int ends[2];
    if (memory_ < 0 || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      fail("cannot make a channel to Python: " + std::string(std::strerror(errno)));
    const char* chosen = std::getenv("RTFQ_PYTHON");
    const std::string python = chosen && *chosen ? chosen : "python3";
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) fail("cannot start " + python);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(127);
      // Descriptors 3 and 4 may be among those that are moved there.
      const int channel = ::fcntl(ends[1], F_DUPFD, 10), memory = ::fcntl(memory_, F_DUPFD, 10);
      ::dup2(channel, 3);
      ::dup2(memory, 4);
      ::execlp(python.c_str(), python.c_str(), "-c", python_script, file.c_str(), nullptr);
      ::dprintf(3, "{\"error\": \"cannot run %s: %s\"}\n", python.c_str(), std::strerror(errno));
      ::_exit(127);
    }
    ::close(ends[1]);
    channel_ = ends[0];
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    ::close(channel_);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    if (shared_) ::munmap(shared_, size_);
    ::close(memory_);
  }

  void send(const json& command) {
    const std::string line = command.dump() + "\n";
    for (std::size_t at = 0; at < line.size();) {
      const ssize_t wrote = ::send(channel_, line.data() + at, line.size() - at, MSG_NOSIGNAL);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) fail("the Python process of " + file_ + " is gone");
      at += static_cast<std::size_t>(wrote);
    }
  }
  json receive() {
    for (char byte;;) {
      const ssize_t got = ::read(channel_, &byte, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) fail("the Python process of " + file_ + " ended without an answer");
      if (byte != '\n') {
        pending_ += byte;
        continue;
      }
      const json answer = json::parse(pending_, nullptr, false);
      pending_.clear();
      if (answer.is_discarded()) fail("the Python process of " + file_ + " answered what is not JSON");
      if (answer.contains("error")) fail(file_ + ": " + answer["error"].get<std::string>());
      return answer;
    }
  }
  char* memory(std::size_t bytes) {
    if (bytes > size_) {
      if (shared_) ::munmap(shared_, size_);
      shared_ = nullptr;
      if (::ftruncate(memory_, static_cast<off_t>(bytes)) != 0) fail("no memory to share with Python");
      void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_, 0);
      if (at == MAP_FAILED) fail("no memory to share with Python");
      shared_ = static_cast<char*>(at);
      size_ = bytes;
    }
    return shared_;
  }
  std::size_t size() const { return size_; }

 private:
  std::string file_, pending_;
  pid_t pid_ = -1;
  int channel_ = -1, memory_ = -1;
  char* shared_ = nullptr;
  std::size_t size_ = 0;
};

struct PythonOperator {
  rtfq_operator op{};  ///< first: `self` is this
  std::shared_ptr<Process> process;
  std::size_t index = 0;
  std::string family, name, said;
  double seconds = 0;
};

json dense(const char* type, std::vector<int64_t> shape) {
  return {{"type", type}, {"shape", std::move(shape)}};
}

Call describe(const std::string& family, const void* shape, const void* args) {
  Call call;
  const auto add = [&](const char* name, const void* data, std::size_t bytes, bool output, json seen) {
    call.operands.push_back({name, data, bytes, output, std::move(seen)});
  };
  if (family.rfind("fakequant.", 0) == 0) {
    const auto& s = *static_cast<const rtfq_fakequant_shape*>(shape);
    call.shape = {{"rows", s.rows},
                  {"groups", s.groups},
                  {"cols", s.cols},
                  {"row_stride", s.row_stride},
                  {"group_stride", s.group_stride},
                  {"qn", s.qn},
                  {"qp", s.qp},
                  {"per_row", s.per_row != 0}};
    const auto count = static_cast<std::size_t>(s.rows * s.groups * s.cols);
    const auto extent =
        static_cast<std::size_t>((s.rows - 1) * s.row_stride + (s.groups - 1) * s.group_stride + s.cols);
    const int64_t steps = s.per_row ? s.rows : 1;
    const auto step_bytes = static_cast<std::size_t>(steps) * 4;
    const std::vector<int64_t> dims{s.rows, s.groups, s.cols};
    json strided = dense("f32", dims);
    strided["strides"] = {s.row_stride * 4, s.group_stride * 4, 4};
    const json step = dense("f32", {steps, 1, 1});
    if (family == "fakequant.forward") {
      const auto& a = *static_cast<const rtfq_fakequant_forward_args*>(args);
      add("x", a.x, extent * 4, false, strided);
      add("step", a.step, step_bytes, false, step);
      add("y", a.y, count * 4, true, dense("f32", dims));
      add("codes", a.codes, count, true, dense(s.qn > 0 ? "s8" : "u8", dims));
    } else if (family == "fakequant.backward") {
      const auto& a = *static_cast<const rtfq_fakequant_backward_args*>(args);
      add("g", a.g, count * 4, false, dense("f32", dims));
      add("x", a.x, extent * 4, false, strided);
      add("step", a.step, step_bytes, false, step);
      add("dx", a.dx, extent * 4, true, strided);
      add("ds", a.ds, step_bytes, true, step);
      call.scalars = {{"grad_scale", a.grad_scale}, {"accumulate_dx", a.accumulate_dx != 0}};
    } else {
      const auto& a = *static_cast<const rtfq_fakequant_abs_sum_args*>(args);
      add("x", a.x, extent * 4, false, strided);
      add("out", a.out, step_bytes, true, step);
    }
    return call;
  }
  const auto& s = *static_cast<const rtfq_elementwise_shape*>(shape);
  call.shape = {{"count", s.count}};
  const auto bytes = static_cast<std::size_t>(s.count) * 4;
  const json flat = dense("f32", {s.count});
  if (family == "relu.forward") {
    const auto& a = *static_cast<const rtfq_relu_forward_args*>(args);
    add("x", a.x, bytes, false, flat);
    add("y", a.y, bytes, true, flat);
  } else if (family == "relu.backward") {
    const auto& a = *static_cast<const rtfq_relu_backward_args*>(args);
    add("g", a.g, bytes, false, flat);
    add("y", a.y, bytes, false, flat);
    add("dx", a.dx, bytes, true, flat);
  } else {
    const auto& a = *static_cast<const rtfq_add_args*>(args);
    add("a", a.a, bytes, false, flat);
    add("b", a.b, bytes, false, flat);
    add("y", a.y, bytes, true, flat);
  }
  return call;
}

bool takes(const std::string& family) {
  for (const char* known : {"fakequant.forward", "fakequant.backward", "fakequant.abs_sum", "relu.forward",
                            "relu.backward", "add"})
    if (family == known) return true;
  return false;
}

void launch(PythonOperator& self, const void* shape, const void* args) {
  const Call call = describe(self.family, shape, args);
  json operands = json::array();
  std::size_t bytes = 0;
  std::vector<std::size_t> offsets;
  for (const Operand& operand : call.operands) {
    json seen = operand.seen;
    seen["name"] = operand.name;
    seen["output"] = operand.output;
    offsets.push_back(bytes);
    if (operand.data) {
      seen["offset"] = bytes;
      bytes += (operand.bytes + 63) / 64 * 64;
    }
    operands.push_back(std::move(seen));
  }
  char* memory = self.process->memory(bytes);
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const Operand& operand = call.operands[i];
    // Outputs too: what the plug-in does not write must show as what was there.
    if (operand.data) std::memcpy(memory + offsets[i], operand.data, operand.bytes);
  }
  self.process->send({{"operator", self.index},
                      {"bytes", self.process->size()},
                      {"shape", call.shape},
                      {"scalars", call.scalars},
                      {"operands", operands}});
  self.seconds = self.process->receive().at("seconds").get<double>();
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const Operand& operand = call.operands[i];
    if (operand.data && operand.output)
      std::memcpy(const_cast<void*>(operand.data), memory + offsets[i], operand.bytes);
  }
}

PythonOperator& self_of(const rtfq_operator* op) {
  return *reinterpret_cast<PythonOperator*>(const_cast<rtfq_operator*>(op));
}

/// Exceptions do not cross the C interface.
template <class Run>
int guarded(const rtfq_operator* op, const Run& run) {
  PythonOperator& self = self_of(op);
  try {
    run(self);
    return 0;
  } catch (const std::exception& error) {
    self.said = error.what();
    return 1;
  }
}

const char* unsupported(const rtfq_operator* op, const void* shape) {
  PythonOperator& self = self_of(op);
  const bool quantizer = self.family.rfind("fakequant.", 0) == 0;
  const rtfq_dtype type = quantizer ? static_cast<const rtfq_fakequant_shape*>(shape)->type
                                    : static_cast<const rtfq_elementwise_shape*>(shape)->type;
  if (type != RTFQ_F32) return "Python plug-ins take f32 operands only";
  return nullptr;
}

template <class Value>
Value chosen(const json& operator_, const char* key, std::initializer_list<const char*> words,
             const std::string& file) {
  if (!operator_.contains(key)) return Value{};
  int i = 0;
  std::string list;
  for (const char* word : words) {
    if (operator_[key] == word) return static_cast<Value>(i);
    list += (i++ ? ", " : "") + std::string(word);
  }
  fail(file + ": '" + key + "' expects one of " + list + ", got " + operator_[key].dump());
}

/// What a file declares lives as long as the process.
struct Table {
  std::deque<PythonOperator> operators;
  std::vector<const rtfq_operator*> pointers;
  std::string name;
  rtfq_plugin plugin{};
};

}  // namespace

const rtfq_plugin* open_python(const std::string& file) {
  static std::deque<Table> tables;
  auto process = std::make_shared<Process>(file);
  const json declared = process->receive();
  Table& table = tables.emplace_back();
  for (const json& one : declared.at("operators")) {
    PythonOperator& made = table.operators.emplace_back();
    made.process = process;
    made.index = table.operators.size() - 1;
    made.family = one.value("family", "");
    made.name = one.value("name", "");
    if (!takes(made.family))
      fail(file + ": '" + made.family + "' is no family for Python plug-ins (docs/lab.md)");
    made.op.family = made.family.c_str();
    made.op.name = made.name.c_str();
    made.op.device = RTFQ_CPU;
    made.op.scaling = chosen<rtfq_scaling>(one, "scaling", {"reciprocal", "division", "exact"}, file);
    made.op.ties = chosen<rtfq_ties>(one, "ties", {"even", "away", "up"}, file);
    made.op.flags = one.value("finite_only", false) ? RTFQ_FINITE_ONLY : 0;
    made.op.unsupported = unsupported;
    made.op.launch = [](const rtfq_operator* op, void*, const void* shape, const void* args, void*) {
      return guarded(op, [&](PythonOperator& self) { launch(self, shape, args); });
    };
    made.op.launch_seconds = [](const rtfq_operator* op, void*) { return self_of(op).seconds; };
    made.op.error = [](const rtfq_operator* op) { return self_of(op).said.c_str(); };
    table.pointers.push_back(&made.op);
  }
  const std::size_t slash = file.rfind('/');
  table.name = slash == file.npos ? file : file.substr(slash + 1);
  table.plugin = {RTFQ_PLUGIN_ABI, 0, table.name.c_str(), "", table.pointers.size(), table.pointers.data()};
  return &table.plugin;
}

}  // namespace rtfq::kernels::plugin
