#include "tools/bench/subject.h"

#include <stdexcept>

#include "kernels/plugin/host.h"
#include "tools/bench/run_data.h"

namespace rtfq::lab {

namespace catalog = kernels::catalog;

catalog::Contract contract_of(const Item& item) {
  const auto* offer = kernels::plugin::find(item.op, item.implementation);
  if (!offer) return {};
  return {offer->op->scaling, offer->op->ties, (offer->op->flags & RTFQ_FINITE_ONLY) != 0,
          kernels::plugin::nibbles_of(*offer->op) == RTFQ_HIGH_NIBBLE_FIRST};
}

std::string rounding_of(const Item& item) {
  if (!kernels::plugin::rounds(item.op)) return "";
  const auto* offer = kernels::plugin::find(item.op, item.implementation);
  rtfq_operator ours{};
  std::string text = kernels::plugin::rounding_text(offer ? *offer->op : ours);
  if (offer && (offer->op->flags & RTFQ_FINITE_ONLY)) text += "; not meant for NaN and infinities";
  return text;
}

std::unique_ptr<catalog::Instance> make_instance(const Item& item, bool verifying) {
  return make_instance(item, verifying, contract_of(item));
}

std::unique_ptr<catalog::Instance> make_instance(const Item& item, bool verifying,
                                                 const catalog::Contract& contract) {
  if (!item.catalog_case.empty()) {
    for (const auto& entry : catalog::entries())
      if (entry.op == item.op && entry.case_name == item.catalog_case) return entry.instance(contract);
    throw std::invalid_argument("[" + item.op + "] the catalog has no case '" + item.catalog_case + "'");
  }
  catalog::CustomRequest request{item.op, item.dims};
  if (item.dtype == "bf16")
    request.type = RTFQ_BF16;
  else if (item.dtype == "f16" && item.op.rfind("fakequant.", 0) == 0)
    request.type = RTFQ_F16;
  else if (item.dtype == "u8" && item.op.rfind("conv2d.", 0) == 0)
    request.type = RTFQ_U8;
  else if (item.dtype != "f32")
    throw std::invalid_argument(
        "[" + item.op +
        "] expected --dtype f32 or bf16, of fake-quant also f16, of convolutions u8 (codes), got " +
        item.dtype);
  if (item.bits) request.bits = item.bits;
  request.is_signed = item.is_signed;
  request.contract = contract;
  request.reference = verifying;
  const bool values_matter = item.op.rfind("fakequant.", 0) == 0 || item.op == "int4.quantize" ||
                             item.op == "add" || item.op.rfind("relu.", 0) == 0;
  if (verifying && values_matter) {
    request.fill = catalog::Fill::special;
  } else if (item.data == "zeros") {
    request.fill = catalog::Fill::zeros;
  } else if (item.data != "normal") {
    const RunValues& values = run_values(item.data, item.bits);
    request.fill = catalog::Fill::given;
    request.given = values.weights;
    if (item.bits) request.step = values.step;
  }
  return catalog::custom(request);
}

Item named(Item item, const catalog::Instance& instance) {
  if (item.implementation != own_choice) return item;
  const auto backend = kernels::parse_device(item.device).backend;
  std::string first;
  for (const std::string& name : instance.implementations(backend)) {
    if (kernels::plugin::find(item.op, name)) continue;
    if (first.empty()) first = name;
    if (!instance.unsupported(backend, name).empty()) continue;
    item.implementation = name;
    return item;
  }
  item.implementation = first;
  return item;
}

bool same_problem(const Item& a, const Item& b) {
  return a.op == b.op && a.case_text() == b.case_text() && contract_of(a) == contract_of(b);
}

}  // namespace rtfq::lab
