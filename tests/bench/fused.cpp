// Plug-ins of the fused passes and of 4-bit codes: arguments arrive as the header says, and each way to be
// wrong has its diagnosis.
#include "tests/bench/run.h"

using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

Outcome verify(const std::string& op, const std::string& implementation, const std::string& shape,
               const std::vector<std::string>& more = {}) {
  std::vector<std::string> command{"run",
                                   "--op",
                                   op,
                                   "--impl",
                                   std::string("plugin:" RTFQ_PLUGINS "/") + implementation,
                                   "--shape",
                                   shape,
                                   "--verify-only"};
  command.insert(command.end(), more.begin(), more.end());
  return Lab().run(command);
}

void right(const std::string& op, const std::string& implementation, const std::string& shape,
           const std::string& verdict = " exact") {
  const Outcome outcome = verify(op, implementation, shape);
  INFO(op << " by " << implementation << ": " << outcome.out << outcome.err);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains(verdict));
}

void wrong(const std::string& op, const std::string& implementation, const std::string& shape,
           const std::vector<std::string>& said) {
  const Outcome outcome = verify(op, implementation, shape);
  INFO(op << " by " << implementation << ": " << outcome.err);
  CHECK(outcome.status == 1);
  for (const std::string& text : said) CHECK_THAT(outcome.err, Contains(text));
}

}  // namespace

TEST_CASE("fused: plug-ins of every pass are exact on the catalog's cases and on a shape of one's own") {
  for (const char* form : {"", ",residual=values,identity=values", ",residual=codes,identity=codes",
                           ",residual=norm,identity=codes"})
    for (const char* pass : {"forward", "reduce", "apply"})
      right(std::string("normquant.") + pass, "norms.so:right",
            "n=3,hw=10,c=21,segments=2" + std::string(form));
  for (const char* form :
       {",z=1", ",signed=1", ",residual=codes,identity=values", ",of=16,residual=values,identity=codes"})
    right("convquant.forward", "codes.so:right",
          "n=2,h=5,w=4,c=12,k=9,filter=3,stride=2" + std::string(form));
}

TEST_CASE("fused: codes of 4 bits lie as the plug-in declares") {
  for (const char* order : {"low", "high"}) {
    right("int4.quantize", "codes.so:" + std::string(order), "k=3,rs=4,c=7,of=9");
    right("int4.conv2d", "codes.so:" + std::string(order), "n=1,h=5,w=5,c=7,k=6,filter=3,of=9");
  }
  wrong("int4.quantize", "codes.so:high_undeclared", "count=16",
        {"wrong", "codes[", "expected ", "x/step = "});
  wrong("int4.quantize", "codes.so:rest", "k=3,rs=4,c=7",
        {"the nibble behind a line's last code; expected 0, found 1"});
}

TEST_CASE("fused: another order of roundings is a near-tie, a wrong sum or border is not") {
  right("normquant.forward", "norms.so:folds", "n=8,hw=196,c=64", "near-tie (");
  const Outcome folds = verify("normquant.forward", "norms.so:folds", "n=8,hw=196,c=64");
  CHECK_THAT(folds.err, Contains("neighbouring") && Contains("channel ") && Contains("z/step = "));
  wrong("normquant.forward", "norms.so:late", "n=2,hw=9,c=8",
        {"wrong", "channel ", "z/step = ", "expected 15, found 16"});
  wrong("normquant.forward", "norms.so:forgets", "n=2,hw=9,c=8",
        {"wrong", "residual = ", "residual values, identity none, qp 15"});
}

TEST_CASE("fused: shapes that make none are refused with what is expected") {
  const auto refused = [](const std::string& op, const std::string& shape, const std::string& reason,
                          const std::vector<std::string>& more = {}) {
    std::vector<std::string> command{"run", "--op", op, "--impl", "naive", "--shape", shape, "--verify-only"};
    command.insert(command.end(), more.begin(), more.end());
    const Outcome outcome = Lab().run(command);
    INFO(op << " " << shape << ": " << outcome.err);
    CHECK(outcome.status != 0);
    CHECK_THAT(outcome.err, Contains(reason));
  };
  refused("normquant.forward", "n=2,hw=9", "there is no 'c'");
  refused("normquant.forward", "n=2,hw=9,c=8,residual=all", "expected NAME=NUMBER");
  refused("normquant.forward", "n=2,hw=9,c=8", "codes of a normalized sum are unsigned", {"--bits", "4s"});
  refused("normquant.apply", "n=2,hw=9,c=8,segments=3", "'segments' is 1 to 8 and at most n");
  refused("convquant.forward", "n=2,h=5,w=4,c=12,k=9,filter=3,residual=norm", "there is no such residual");
  refused("convquant.forward", "n=2,h=5,w=4,c=12,k=9,filter=3,z=1,residual=codes",
          "neither residual nor identity");
  refused("int4.quantize", "count=5", "--bits is 2 to 4", {"--bits", "8"});
  refused("maxpool.forward", "n=2,h=9,w=9,c=8", "there is no 'window'");
  refused("loss.cross_entropy", "n=2", "there is no 'k'");
  refused("softmax", "n=2,k=8", "operands are f32", {"--dtype", "bf16"});
}

TEST_CASE("losses, updates and images: right on shapes of one's own") {
  const auto right = [](const std::string& op, const std::string& shape) {
    const Outcome outcome =
        Lab().run({"run", "--op", op, "--impl", "all", "--shape", shape, "--verify-only"});
    INFO(op << ": " << outcome.out << outcome.err);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.out, Contains("exact") && Contains(shape));
  };
  for (const char* loss : {"softmax", "loss.cross_entropy", "loss.soft_cross_entropy", "loss.mean_prediction",
                           "loss.information_maximization", "loss.class_confusion"})
    right(loss, "n=7,k=31");
  for (const char* update : {"optimizer.sgd", "optimizer.moving_average", "optimizer.squared_norm"})
    right(update, "count=70001,tensors=5");
  right("normalize", "n=3,h=11,w=9,c=4");
  right("resize", "n=2,h=31,w=17,p=12,q=23");
}
