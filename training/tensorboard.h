#pragma once
// TensorBoard event files, written without TensorFlow: records framed as TFRecord does, each an Event message
// of TensorFlow's event.proto with the scalars of one step.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rtfq {

/// CRC-32C (Castagnoli: polynomial 0x1EDC6F41, reflected, start and end inverted).
uint32_t crc32c(const std::string& bytes);

/// One TFRecord: length (u64), masked CRC-32C of the length, data, masked CRC-32C of the data; little-endian.
std::string framed_record(const std::string& data);

using Scalars = std::vector<std::pair<std::string, float>>;  ///< tags and values

/// Event{wall_time, step, summary{value{tag, simple_value}...}}.
std::string scalar_event(double wall_time, int64_t step, const Scalars&);

class EventFile {
 public:
  /// Continues FOLDER/events.out.tfevents.rtfq after `step`: events of later steps, and one that was cut off
  /// while it was written, are cut away in place. Makes folder and file where they are missing. Throws
  /// std::runtime_error naming the file.
  EventFile(const std::string& folder, int64_t step);
  /// The last step that the file held when it was opened; 0: none.
  int64_t last_step() const { return last_step_; }
  void append(double wall_time, int64_t step, const Scalars&);
  /// In the hands of the system, so that TensorBoard sees it.
  void flush();
  const std::string& path() const { return path_; }

 private:
  void write(const std::string& event);
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  int64_t last_step_ = 0;
};

}  // namespace rtfq
