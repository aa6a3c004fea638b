// What a person at a terminal sees: a bar drawn anew on one line. The terminal is a pseudo-terminal.
#include <sys/ioctl.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <utility>

#include "tests/tools/command.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using test::Outcome;
using test::Process;
using test::Workplace;

namespace {

/// A pseudo-terminal of `columns` columns; `read` runs until nobody has its other side open.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) : screen_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    if (screen_ < 0 || ::grantpt(screen_) || ::unlockpt(screen_)) throw std::runtime_error("no terminal");
    line_ = ::open(::ptsname(screen_), O_RDWR | O_NOCTTY);
    const winsize size{24, columns, 0, 0};
    if (line_ < 0 || ::ioctl(line_, TIOCSWINSZ, &size)) throw std::runtime_error("no terminal");
  }
  ~Terminal() {
    if (line_ >= 0) ::close(line_);
    ::close(screen_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  int line() const { return line_; }
  std::string read() {
    ::close(std::exchange(line_, -1));
    std::string text;
    char buffer[4096];
    for (ssize_t got; (got = ::read(screen_, buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(got));
    return text;
  }

 private:
  int screen_, line_ = -1;
};

/// What is drawn between returns and line ends, without the escape that clears the rest of a line.
std::vector<std::string> drawn(const std::string& text) {
  std::vector<std::string> lines(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' || text[i] == '\n')
      lines.emplace_back();
    else if (text.compare(i, 3, "\x1b[K") == 0)
      i += 2;
    else
      lines.back() += text[i];
  }
  return lines;
}

}  // namespace

TEST_CASE("terminal: training draws a bar that fits the screen") {
  const Workplace place;
  for (const unsigned short columns : {200, 50}) {
    Terminal terminal(columns);
    const Process process(place.root, place.train("run" + std::to_string(columns)), terminal.line());
    const std::string text = terminal.read();
    CHECK(process.wait().status == 0);
    INFO(text);
    CHECK_THAT(text, Contains("\r[") && Contains("\x1b[K") && Contains("[====================] 9/9 adapt"));
    CHECK_THAT(text, Contains("ETA ") && Contains("calibrating norms: 8/8"));
    if (columns == 200) CHECK_THAT(text, Contains("source accuracy") && Contains("images/s"));
    for (const std::string& line : drawn(text))
      if (!line.empty() && line[0] == '[') CHECK(line.size() < columns);
  }
}
