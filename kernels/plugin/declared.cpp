// What a plug-in's operator declares of itself: rounding and nibbles.
#include "kernels/plugin/families.h"
#include "kernels/plugin/host.h"

namespace rtfq::kernels::plugin {

bool rounds(const std::string& family) {
  if (family == AbsSum::name) return false;
  for (const char* stem : {"fakequant.", "normquant.", "convquant.", "int4.quantize"})
    if (family.rfind(stem, 0) == 0) return true;
  return false;
}

rtfq_nibbles nibbles_of(const rtfq_operator& op) {
  const char* of_nibbles = nibble_operand(op.family);
  if (!of_nibbles) return RTFQ_BYTES;
  for (std::size_t i = 0; i < op.operand_count; ++i)
    if (op.operands[i].name && op.operands[i].name == std::string(of_nibbles)) return op.operands[i].nibbles;
  return RTFQ_LOW_NIBBLE_FIRST;
}

std::string rounding_text(const rtfq_operator& op) {
  const char* scaling = op.scaling == RTFQ_RECIPROCAL ? "multiply by the reciprocal"
                        : op.scaling == RTFQ_DIVISION ? "divide"
                                                      : "divide exactly";
  const char* ties = op.ties == RTFQ_TIES_EVEN   ? "ties to even"
                     : op.ties == RTFQ_TIES_AWAY ? "ties away from zero"
                                                 : "ties up";
  return std::string(scaling) + ", " + ties;
}

}  // namespace rtfq::kernels::plugin
