// Every way to be wrong gets its own diagnosis.
#include "kernels/plugin.h"
#include "tests/bench/run.h"

using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

/// Wrong, for this reason, with a command that repeats it and ends the same way.
void diagnosed(const std::string& fault, const std::vector<std::string>& said,
               const std::vector<std::string>& more = {}) {
  const Lab lab;
  const Outcome outcome = lab.verify(fault, more);
  INFO(fault << ": " << outcome.out << outcome.err);
  CHECK(outcome.status == 1);
  for (const std::string& text : said) CHECK_THAT(outcome.out + outcome.err, Contains(text));
  const std::size_t repeat = outcome.err.find("repeat: ");
  REQUIRE(repeat != outcome.err.npos);
  const std::string command = outcome.err.substr(repeat + 8, outcome.err.find('\n', repeat) - repeat - 8);
  CHECK_THAT(command, Contains("run --op fakequant.forward --impl plugin:" + plugin(fault)) &&
                          Contains("--verify-only"));
  // It keeps what was asked for.
  for (std::size_t i = 0; i + 1 < more.size(); i += 2)
    CHECK_THAT(command, Contains(" " + more[i] + " " + more[i + 1]));
  const std::string again = command + " >/dev/null 2>&1";
  INFO(again);
  CHECK(WEXITSTATUS(std::system(again.c_str())) == 1);
}

}  // namespace

TEST_CASE("wrong: nothing is wrong with a kernel that is right") {
  const Lab lab;
  const Outcome outcome = lab.verify("none");
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains(" exact") && !Contains("near-tie"));
  CHECK_THAT(outcome.err, !Contains("repeat"));
}

TEST_CASE("wrong: one bin off next to ties is a near-tie, counted and timed") {
  const Lab lab;
  const Outcome outcome =
      lab.run({"run", "--op", "fakequant.forward", "--impl", "plugin:" + plugin("divides_undeclared"),
               "--shape", "count=1003", "--samples", "3", "--sample-seconds", "0.001", "--seconds", "0.01",
               "--json", lab.at("near.json")});
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains("near-tie ("));
  CHECK_THAT(outcome.err, Contains("neighbouring code") &&
                              Contains("multiply by the reciprocal, ties to even") &&
                              Contains("it agrees with RTFQ_DIVISION in all elements"));
  const auto row = nlohmann::json::parse(contents(lab.at("near.json")))["rtfq"]["rows"][0];
  CHECK(row["verdict"] == "near-tie");
  CHECK(row["near_ties"].get<double>() > 0);
  CHECK(row["near_ties"].get<double>() < 0.3 * row["compared"].get<double>());
  CHECK(row["seconds"].size() >= 3);
}

TEST_CASE("wrong: an exact tie has no excuse, and the rule that the kernel keeps is named") {
  diagnosed("ties",
            {"wrong", "expected 0, found 0.125", "x/step = 0.5",
             "it agrees with RTFQ_TIES_AWAY in every small case", "declare that, or change how it rounds"});
  diagnosed("up", {"wrong", "it agrees with RTFQ_TIES_UP in every small case"});
  // A kernel that is wrong by every rule is not told of any.
  const Lab lab;
  CHECK_THAT(lab.verify("border").err, !Contains("agrees with"));
}

TEST_CASE("wrong: a declared rounding rule has its own exact reference") {
  const Lab lab;
  for (const char* fault : {"divides", "away"}) {
    const Outcome outcome = lab.verify(fault);
    INFO(fault << outcome.err);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.out, Contains(" exact") && !Contains("near-tie"));
  }
  // The same division, undeclared, differs next to ties.
  const Outcome undeclared = lab.verify("divides_undeclared");
  INFO(undeclared.err);
  CHECK(undeclared.status == 0);
  CHECK_THAT(undeclared.out, Contains("near-tie ("));
}

TEST_CASE("wrong: a border, a NaN and a tail show the first element, its inputs, expected and found") {
  diagnosed("border", {"wrong", "x = ", "step = 0.125", "expected ", "found ", "elements are wrong", "case ",
                       "rows 1, groups 1, cols 1003, qn 0, qp 3, f32; outputs y, codes"});
  diagnosed("nan_passes", {"wrong", "x = nan", "expected 0, found nan"});
  diagnosed("tail", {"wrong", "found nan"});
}

TEST_CASE("wrong: writes outside are found where they are") {
  diagnosed("past_end", {"wrote outside a buffer: y, 1 byte past its last"});
  diagnosed("before", {"wrote outside a buffer: y, "});
  diagnosed("far", {"crashed", "SIGSEGV", "bytes past the last byte of a buffer"});
  diagnosed("input", {"wrote to an input: x[0] was ", ", is "});
  CHECK_THAT(Lab().verify("input").err, !Contains("expected "));
}

TEST_CASE("wrong: a crash, an exit and an error code do not take the lab down") {
  diagnosed("segfault", {"crashed", "ended by SIGSEGV", "fakequant.forward case "});
  diagnosed("exits", {"crashed", "ended itself with status 3"});
  diagnosed("refuses", {"failed", "case 2bit_unsigned (rows 1, ", "launch answered 7: no more of this"});
}

TEST_CASE("wrong: a loop without end is ended after the limit") {
  diagnosed("loop",
            {"hung", "no answer for ", "the limit is 1 s", "s of processor time", "fakequant.forward case "},
            {"--limit", "1"});
}

TEST_CASE("wrong: who has not had the processor is waited for, three times the limit at most") {
  const Lab lab;
  const Outcome late = lab.verify("sleeps", {"--limit", "1"});
  INFO(late.err);
  CHECK(late.status == 0);
  CHECK_THAT(late.out, Contains(" exact"));
  const Outcome never = lab.verify("sleeps", {"--limit", "0.4"});
  INFO(never.err);
  CHECK(never.status == 1);
  CHECK_THAT(never.err, Contains("hung: no answer for 1"));
  CHECK_THAT(never.err, Contains("the limit is 0.4 s"));
}

TEST_CASE("wrong: what a launch says while it is timed is repeated with the timing") {
  const Lab lab;
  const Outcome outcome =
      lab.run({"run", "--op", "fakequant.forward", "--impl", "plugin:" + plugin("tires"), "--shape",
               "count=123457", "--samples", "3", "--seconds", "0.5", "--threads", "1"});
  INFO(outcome.err);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.err, Contains("failed: ") && Contains("while timing fakequant.forward/count=123457") &&
                              Contains(" --threads 1 --samples 3 --seconds 0.5\n") &&
                              !Contains("--verify-only"));
}

TEST_CASE("wrong: what a plug-in prints is seen") {
  const Lab lab;
  const Outcome outcome = lab.verify("prints");
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.err, Contains("printed to stdout") && Contains("printed to stderr"));
  CHECK_THAT(outcome.out, !Contains("printed"));
}

TEST_CASE("wrong: what crashed is not run again, what is left is") {
  const Lab lab;
  const Outcome outcome =
      lab.run({"run", "--op", "fakequant.forward", "--impl", "plugin:" + plugin("segfault") + ",naive",
               "--shape", "count=1003", "--shape", "count=77", "--verify-only"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.status == 1);
  const auto count_of = [&](const std::string& word) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = outcome.out.find(word, at)) != outcome.out.npos; ++at) ++n;
    return n;
  };
  CHECK(count_of("crashed") == 2);
  CHECK(count_of(" exact") == 2);
}

TEST_CASE("wrong: files that are no plug-in are refused with the reason") {
  const Lab lab;
  const auto refused = [&](const std::string& file, const std::string& reason) {
    const Outcome outcome = lab.run({"list", file});
    INFO(file << ": " << outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK_THAT(outcome.err, Contains(reason));
  };
  refused(plugin("abi"), "was built for ABI version " + std::to_string(RTFQ_PLUGIN_ABI + 41) +
                             ", this program has version " + std::to_string(RTFQ_PLUGIN_ABI));
  refused(plugin("unknown"), "scaling 7 is none of RTFQ_RECIPROCAL, RTFQ_DIVISION, RTFQ_EXACT");
  refused(plugin("nibbles"), "operand codes: codes are one a byte here, two a byte in int4.quantize");
  refused(plugin("loads"), "ended by SIGABRT");
  refused(lab.at("absent.so"), "there is no file " + lab.at("absent.so"));
  std::ofstream(lab.at("text.so")) << "not a library";
  refused(lab.at("text.so"), "cannot load");
  refused("/lib/x86_64-linux-gnu/libm.so.6", "no function rtfq_plugin_entry");
}

TEST_CASE("wrong: a race on the executor is called a race") {
  const Lab lab;
  const auto run = [&](const std::string& name) {
    return lab.run({"run", "--op", "fakequant.abs_sum", "--device", "simt", "--impl",
                    "plugin:" + plugin(name), "--shape", "count=9000", "--verify-only"});
  };
  const Outcome right = run("cuda_example");
  INFO(right.err);
  CHECK(right.status == 0);
  CHECK_THAT(right.out, Contains(" exact"));
  const Outcome race = run("race");
  INFO(race.err);
  CHECK(race.status == 1);
  CHECK_THAT(race.err, Contains("thread order ") && Contains("out[0]: expected "));
}
