#include "tools/train_session.h"

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>

#include "engine/cancellation.h"
#include "engine/memory.h"
#include "engine/ops/used.h"
#include "engine/ranks/group.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "training/exchange.h"
#include "training/network.h"
#include "training/run_record.h"

namespace rtfq::cli {
namespace {

/// With train.on_divergence=retreat the rate is not halved more often than this.
constexpr double least_rate_factor = 1.0 / 1024;

class Session {
 public:
  /// `group`: null for a process on its own. Of its ranks only the first writes anything.
  Session(const TrainSession& wanted, ranks::Group* group)
      : wanted_(wanted), group_(group), config_(wanted.config), paths_{wanted.out} {
    set_norms_over_ranks(config_.train.sync_norms);
    if (group_)
      group_->monitor().set_advice("the last checkpoint is in " + wanted_.out +
                                   "; go on, with as many ranks or fewer, by:\n  " + wanted_.resume_command);
    const bool on_gpus = kernels::parse_device(config_.device).backend == Backend::cuda;
    if (group_ && on_gpus) as_usage([&] { group_->choose_gpu(); });
    if (first()) folder_ = open_folder(wanted);
    if (first() && !folder_->died().empty())
      note("the process that trained in " + wanted.out + " before died (" + folder_->died() + ")");
    open();
    if (group_) device_sums_ = group_->use_device(device_of(config_));
    if (!first()) return;
    begin_record();
    say_what_runs();
  }

  int run() {
    catch_interrupts();
    set_cancellation(interrupted_for_long);
    if (first()) progress_ = std::make_unique<TrainingProgress>(config_, wanted_.print_every);
    try {
      return steps() ? calibrate()
                     : stop("after step " + std::to_string(trainer_->step()) + " of " + total());
    } catch (const Cancelled&) {  // in the middle of a step, which the trainer has taken back
      progress_->leave();
      if (trainer_->step() > saved_ || !has_checkpoint_) save();
      return stop("in step " + std::to_string(trainer_->step() + 1) + " of " + total());
    } catch (const std::exception& error) {
      if (!first()) throw;
      progress_->leave();
      note(explain(error));
      note(saved_ ? "the last checkpoint, of step " + std::to_string(saved_) + ", is in " + wanted_.out +
                        "; once the cause is gone, go on with:\n  " + wanted_.resume_command
                  : "nothing was saved yet");
      end_record("failed");
      if (group_) group_->monitor().fail(explain(error));
      return failed;
    }
  }

 private:
  static std::unique_ptr<RunFolder> open_folder(const TrainSession& wanted) {
    return as_usage([&] { return std::make_unique<RunFolder>(wanted.out, wanted.resume); });
  }

  std::string total() const { return std::to_string(config_.train.steps); }

  bool first() const { return reducer().rank() == 0; }

  /// What rank 0 says, on every rank.
  static bool agreed(bool here) {
    double answer = here;
    ranks::from_first(std::span(&answer, 1));
    return answer != 0;
  }

  /// Goes on from the checkpoint, or starts. A resumed run finds its data where they were unless told
  /// otherwise.
  void open() {
    if (first() && folder_->has_checkpoint()) {
      prepare_to_resume();
      has_checkpoint_ = true;
    }
    has_checkpoint_ = agreed(has_checkpoint_);
    if (!first() && has_checkpoint_) require_folder();
    if (!first() && has_checkpoint_) keep_data_locations();
    trainer_ = open_trainer();
    if (has_checkpoint_) as_usage([&] { require_same_run(trainer_->config(), config_); });
    require_agreement();
    if (first()) folder_->write_config(config_);  // not before the data were found: the folder stays free
    saved_ = has_checkpoint_ ? trainer_->step() : 0;
  }

  std::unique_ptr<Trainer> open_trainer() {
    return as_usage([&] {
      return has_checkpoint_ ? Trainer::resume(paths_.checkpoint(), &config_)
                             : std::make_unique<Trainer>(config_);
    });
  }

  void prepare_to_resume() {
    if (std::filesystem::exists(paths_.config())) {
      const Config started = as_usage([&] { return read_config(paths_.config()); });
      as_usage([&] { require_same_run(started, config_); });
    }
    keep_data_locations();
    require_whole_checkpoint();
  }

  void keep_data_locations() {
    if (!std::filesystem::exists(paths_.config())) return;
    const Config started = as_usage([&] { return read_config(paths_.config()); });
    if (config_.data.source.empty()) config_.data.source = started.data.source;
    if (config_.data.target.empty()) config_.data.target = started.data.target;
  }

  void require_folder() const {
    if (!std::filesystem::exists(paths_.checkpoint()))
      throw std::runtime_error("[ranks] there is no " + paths_.checkpoint() +
                               " here: --out must lie on a file system that all ranks see");
  }

  /// Ranks that see other data or settings would train something else, or wait for each other forever.
  void require_agreement() const {
    const std::hash<std::string> hash;
    Config same = config_;  // but for where the data lie
    same.data = {};
    same.threads = 0;
    const double mine[] = {
        static_cast<double>(trainer_->step()), static_cast<double>(trainer_->source_images()),
        static_cast<double>(trainer_->target_images()), static_cast<double>(trainer_->classes()),
        static_cast<double>(hash(to_json(same)) >> 12)};
    constexpr const char* names[] = {"step", "number of source images", "number of target images",
                                     "number of classes", "configuration"};
    std::vector<double> theirs(std::begin(mine), std::end(mine));
    ranks::from_first(theirs);
    for (std::size_t i = 0; i < theirs.size(); ++i)
      if (theirs[i] != mine[i])
        throw std::runtime_error(std::string("[ranks] this rank has another ") + names[i] +
                                 " than rank 0: all ranks need the same configuration and data");
  }

  /// A damaged checkpoint makes way for the one before.
  void require_whole_checkpoint() {
    try {
      load_bank(paths_.checkpoint());
    } catch (const std::exception& error) {
      if (!folder_->fall_back()) throw;
      note(error.what());
      note("warning: falling back to the checkpoint before it; the damaged one is now " + paths_.damaged());
    }
  }

  void begin_record() {
    record_.reset();
    record_ = std::make_unique<RunRecord>(paths_, config_, *trainer_);
    if (record_->last_step() != trainer_->step())
      note(paths_.log() + " lacks steps before " + std::to_string(trainer_->step()) +
           "; training goes on without them");
  }

  /// At the end of a failed session even this may fail, on a full disk for instance.
  void end_record(const std::string& how) {
    if (!record_) return;
    try {
      record_->end(how, trainer_->step());
    } catch (const std::exception& error) {
      note(error.what());
    }
  }

  void say_what_runs() const {
    const TrainConfig& train = config_.train;
    std::string text = config_.model.arch;
    if (train.method == "source_only")
      text += ", the largest network in full precision on the source only";
    else
      text += ", " + std::to_string(config_.model.bank.subnets().size()) +
              " subnets; steps: " + std::to_string(train.float_steps) + " in full precision on the source, " +
              std::to_string(train.source_steps) + " quantized on the source, " +
              std::to_string(train.steps - train.float_steps - train.source_steps) + " adapting";
    note("training " + text + "; seed " + std::to_string(train.seed) + "; writing to " + wanted_.out);
    const bool overlaps = train.overlap && config_.device == "cpu" && reducer().beside();
    if (group_)
      note(group_->description() + ", " + std::to_string(train.batch / group_->ranks()) +
           " images of each domain a rank; gradients are summed " +
           (overlaps ? "while passes compute others" : "after the last pass") +
           (device_sums_.empty() ? "" : ", " + device_sums_));
    if (config_.precision != "f32" || config_.device != "cpu") note("device: " + device_in_use(config_));
    for (std::istringstream lines(trainer_->start_report()); std::getline(lines, text);) note(text);
    if (trainer_->step()) note("going on after step " + std::to_string(trainer_->step()) + " of " + total());
    if (trainer_->rate_factor() != 1)
      note("the learning rate is " + std::to_string(trainer_->rate_factor()) + " of the schedule's");
  }

  void save() {
    retreated_to_ = -1;
    has_checkpoint_ = true;
    saved_ = trainer_->step();
    if (!first()) return;
    record_->sync();
    trainer_->save(paths_.checkpoint(), paths_.previous());
  }

  int stop(const std::string& where) {
    if (!first()) return interrupted_and_saved;
    end_record("interrupted");
    note("interrupted " + where + "; saved. Go on with:\n  " + wanted_.resume_command);
    return interrupted_and_saved;
  }

  /// True when all steps are done, false when interrupted.
  bool steps() {
    while (!trainer_->finished()) {
      try {
        step();
      } catch (const NonFiniteLoss& error) {
        if (config_.train.on_divergence != "retreat") throw;
        retreat(error.what());
        continue;
      }
      if (interrupted_ && !trainer_->finished()) {
        if (first()) progress_->leave();
        return false;
      }
    }
    return true;
  }

  void step() {
    const StepReport report = trainer_->train_step();
    if (first()) {
      record_->add(report, *trainer_);
      progress_->show(report);
    }
    if (seconds_ > 0) waited_ += report.wait_seconds;
    seconds_ += report.seconds;
    interrupted_ = anywhere(interrupted());
    if (report.step % config_.train.checkpoint_every == 0 || trainer_->finished() || interrupted_) save();
  }

  /// Back to the last checkpoint at half the rate; where that has been tried, to the one before, and from the
  /// first one to the start.
  void retreat(const std::string& why) {
    const double factor = trainer_->rate_factor() / 2;
    if (factor < least_rate_factor) throw NonFiniteLoss(why + "; the rate has been halved 10 times already");
    if (first()) {
      progress_->leave();
      note(why);
      end_record("retreated");
      if (retreated_to_ >= 0 && std::filesystem::exists(paths_.previous()))
        std::filesystem::rename(paths_.previous(), paths_.checkpoint());
      else if (retreated_to_ > 0 && retreated_to_ <= config_.train.checkpoint_every)
        std::filesystem::remove(paths_.checkpoint());
      has_checkpoint_ = folder_->has_checkpoint();
    }
    has_checkpoint_ = agreed(has_checkpoint_);
    trainer_.reset();  // two networks may be more than the memory holds
    trainer_ = open_trainer();
    while (trainer_->rate_factor() > factor) trainer_->slow_down();
    ranks::barrier();  // all have read before it is written
    saved_ = retreated_to_ = trainer_->step();
    if (!first()) return;
    begin_record();
    // Whoever resumes from here has to go on at the lower rate too. The one before stays what it was.
    if (has_checkpoint_) trainer_->save(paths_.checkpoint());
    note("retreating to step " + std::to_string(retreated_to_) + ", the learning rate is now " +
         std::to_string(factor) + " of the schedule's");
  }

  int calibrate() {
    try {
      std::optional<CountProgress> calibrated;
      if (first()) calibrated.emplace("calibrating norms:");
      trainer_->calibrate([&](int64_t done, int64_t count) {
        if (interrupted()) throw Cancelled();
        if (calibrated) (*calibrated)(done, count);
      });
    } catch (const Cancelled&) {  // the checkpoint of the last step is written
      const std::string where = "while calibrating, all " + total() + " steps done";
      const int status = stop(where);
      if (group_) group_->monitor().fail("interrupted " + where, status);  // others may not have heard
      return status;
    }
    save();
    if (!first()) return done;
    record_->end("finished", trainer_->step());
    if (!record_->report_problem().empty()) note("no report was written: " + record_->report_problem());
    char share[64];
    std::snprintf(share, sizeof share, "%.2f %%", seconds_ > 0 ? 100 * waited_ / seconds_ : 0.0);
    note(std::string("waiting for images took ") + share + " of the steps' time");
    const Device device = device_of(config_);
    note("peak memory of tensors: " + std::to_string(memory::statistics(device).peak >> 20) + " MiB on " +
         config_.device);
    std::string kernels;
    for (const std::string& used : ops::used_implementations(device.backend))
      kernels += (kernels.empty() ? "" : ", ") + used;
    note("kernels: " + kernels);
    const std::string run = shell_word(wanted_.out);
    note("done. See how good and how expensive every subnet is, then all of it as one page:\n  " + program +
         " eval " + run + " --all\n  " + program + " report " + run);
    return done;
  }

  const TrainSession& wanted_;
  ranks::Group* group_;
  Config config_;
  std::unique_ptr<RunFolder> folder_;
  RunPaths paths_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<RunRecord> record_;
  std::unique_ptr<TrainingProgress> progress_;
  bool has_checkpoint_ = false, interrupted_ = false;
  int64_t saved_ = 0, retreated_to_ = -1;
  std::string device_sums_;  ///< how ranks sum what is on their devices
  double seconds_ = 0,
         waited_ = 0;  ///< of the steps, without the first, which has nothing to prepare ahead of
};

}  // namespace

int run_session(const TrainSession& wanted) {
  exit_on_interrupts(interrupted_and_saved);
  const std::optional<ranks::Launch> launch = as_usage([] { return ranks::read_launch(); });
  if (!launch) return Session(wanted, nullptr).run();
  ranks::Group group(*launch);
  try {
    return Session(wanted, &group).run();
  } catch (const std::exception& error) {
    group.monitor().fail(explain(error));
  }
}

}  // namespace rtfq::cli
