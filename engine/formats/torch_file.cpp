// torch/serialization.py's two formats. A state dict's pickle names tensors by calls of _rebuild_tensor_v2 on
// storages that lie outside of the pickle; nothing of it is executed.
#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "engine/formats/pickle.h"
#include "engine/formats/tensor_list.h"
#include "engine/formats/zip.h"

namespace rtfq::formats {
namespace {

using Kind = PickleNode::Kind;

struct StorageType {
  const char* global;
  ElementType type;
};
constexpr std::array<StorageType, 10> storage_types{{{"torch.DoubleStorage", ElementType::f64},
                                                     {"torch.FloatStorage", ElementType::f32},
                                                     {"torch.HalfStorage", ElementType::f16},
                                                     {"torch.BFloat16Storage", ElementType::bf16},
                                                     {"torch.LongStorage", ElementType::i64},
                                                     {"torch.IntStorage", ElementType::i32},
                                                     {"torch.ShortStorage", ElementType::i16},
                                                     {"torch.CharStorage", ElementType::i8},
                                                     {"torch.ByteStorage", ElementType::u8},
                                                     {"torch.BoolStorage", ElementType::boolean}}};

constexpr const char* rebuild_tensor = "torch._utils._rebuild_tensor_v2";
constexpr const char* rebuild_old_tensor = "torch._utils._rebuild_tensor";
constexpr const char* rebuild_parameter = "torch._utils._rebuild_parameter";

/// Everything that training scripts of torchvision and timm put beside the weights.
constexpr std::array<const char*, 17> known{
    rebuild_tensor,       rebuild_old_tensor,        rebuild_parameter,
    "torch.Size",         "collections.OrderedDict", "collections.Counter",
    "argparse.Namespace", "torch.DoubleStorage",     "torch.FloatStorage",
    "torch.HalfStorage",  "torch.BFloat16Storage",   "torch.LongStorage",
    "torch.IntStorage",   "torch.ShortStorage",      "torch.CharStorage",
    "torch.ByteStorage",  "torch.BoolStorage"};

/// A storage as a pickle refers to it: ("storage", type, key, device, count[, view]).
struct StorageReference {
  ElementType type;
  std::string key;
  int64_t count = 0;
  int64_t offset = 0;  ///< of a legacy view in the storage that it is a part of, in elements
};

std::string key_text(const PickleNode& node) {
  if (node.kind == Kind::text) return node.text;
  if (node.kind == Kind::integer) return std::to_string(node.integer);
  throw FormatError("the pickle has a storage without a name");
}

StorageReference storage_reference(const Pickle& pickle, PickleId id) {
  if (pickle[id].kind != Kind::persistent) throw FormatError("the pickle has a tensor without a storage");
  const PickleNode& tuple = pickle[pickle[id].children.at(0)];
  if (tuple.kind != Kind::sequence || tuple.children.size() < 5 ||
      pickle[tuple.children[0]].text != "storage")
    throw FormatError("the pickle refers to something outside of it that is not a storage");
  const std::string& global = pickle[tuple.children[1]].text;
  const auto type = std::find_if(storage_types.begin(), storage_types.end(),
                                 [&](const StorageType& known_type) { return known_type.global == global; });
  if (type == storage_types.end())
    throw FormatError("the pickle has a storage of the unknown type " + shown_name(global));
  StorageReference reference{type->type, key_text(pickle[tuple.children[2]]), 0, 0};
  const PickleNode& count = pickle[tuple.children[4]];
  if (count.kind != Kind::integer || count.integer < 0)
    throw FormatError("the storage " + shown_name(reference.key) + " has no size");
  reference.count = count.integer;
  if (tuple.children.size() > 5 && pickle[tuple.children[5]].kind == Kind::sequence) {
    const PickleNode& view = pickle[tuple.children[5]];  // (the view's own key, offset, count)
    if (view.children.size() != 3) throw FormatError("the pickle has a malformed view of a storage");
    reference.offset = pickle[view.children[1]].integer;
    reference.count = pickle[view.children[2]].integer;
  }
  return reference;
}

/// The bytes of each storage by its key; of a legacy file they are known after the pickle only.
using Storages = std::unordered_map<std::string, Bytes>;

Bytes storage_bytes(const StorageReference& reference, const Storages& storages) {
  const std::string& key = reference.key;
  const auto found = storages.find(key);
  if (found == storages.end()) throw FormatError("the file has no data of storage " + shown_name(key));
  const uint64_t width = size_of(reference.type);
  uint64_t begin = 0, size = 0;
  if (reference.offset < 0 || reference.count < 0 ||
      __builtin_mul_overflow(static_cast<uint64_t>(reference.offset), width, &begin) ||
      __builtin_mul_overflow(static_cast<uint64_t>(reference.count), width, &size) ||
      begin > found->second.size() || size > found->second.size() - begin)
    throw FormatError("storage " + shown_name(key) + " has " + std::to_string(found->second.size()) +
                      " bytes, its pickle claims " + std::to_string(reference.count) + " " +
                      to_string(reference.type) + " values");
  return found->second.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
}

std::vector<int64_t> sizes(const Pickle& pickle, PickleId id) {
  const PickleNode* node = &pickle[id];
  if (node->kind == Kind::call && node->text == "torch.Size" && !pickle[node->children[0]].children.empty())
    node = &pickle[pickle[node->children[0]].children[0]];
  if (node->kind != Kind::sequence) throw FormatError("the pickle has a tensor without a shape");
  std::vector<int64_t> values;
  for (const PickleId child : node->children) {
    if (pickle[child].kind != Kind::integer)
      throw FormatError("the pickle has a tensor with a malformed shape");
    values.push_back(pickle[child].integer);
  }
  return values;
}

bool is_dictionary(const PickleNode& node) {
  return node.kind == Kind::dictionary ||
         (node.kind == Kind::call &&
          (node.text == "collections.OrderedDict" || node.text == "argparse.Namespace"));
}

class Walk {
 public:
  Walk(const Pickle& pickle, const Storages& storages) : pickle_(pickle), storages_(storages) {}

  /// All tensors in dictionaries, whichever hold which; each dictionary is visited once.
  std::vector<NamedArray> run() {
    constexpr std::size_t deepest = 6;
    if (!is_dictionary(pickle_.top()))
      throw FormatError("it holds no dictionary of tensors: save model.state_dict()");
    struct Place {
      PickleId id;
      std::string group;
      std::size_t depth;
    };
    std::vector<Place> pending{{pickle_.root, "", 0}};
    std::unordered_set<PickleId> seen{pickle_.root};
    for (std::size_t next = 0; next < pending.size(); ++next) {
      const Place place = pending[next];
      for (const auto& [key_id, value_id] : items(pickle_[place.id])) {
        const PickleNode &key = pickle_[key_id], &value = pickle_[value_id];
        if (key.kind != Kind::text) continue;
        if (is_dictionary(value)) {
          if (place.depth < deepest && seen.insert(value_id).second)
            pending.push_back(
                {value_id, place.group.empty() ? key.text : place.group + "/" + key.text, place.depth + 1});
        } else if (const std::optional<ArrayView> array = tensor(value_id, key.text)) {
          tensors_.push_back({place.group, key.text, *array});
        }
      }
    }
    return std::move(tensors_);
  }

 private:
  /// A dictionary's own items, and those that Python 2's OrderedDict was called with: a list of pairs.
  std::vector<std::pair<PickleId, PickleId>> items(const PickleNode& node) const {
    std::vector<std::pair<PickleId, PickleId>> all;
    if (node.kind == Kind::call) {
      const PickleNode& arguments = pickle_[node.children[0]];
      if (!arguments.children.empty())
        for (const PickleId pair : pickle_[arguments.children[0]].children)
          if (pickle_[pair].children.size() == 2)
            all.emplace_back(pickle_[pair].children[0], pickle_[pair].children[1]);
    }
    all.insert(all.end(), node.items.begin(), node.items.end());
    return all;
  }

  std::optional<ArrayView> tensor(PickleId id, const std::string& name) const {
    const PickleNode* node = &pickle_[id];
    // A parameter is (tensor, requires_grad, hooks); one inside another does not happen.
    if (node->kind == Kind::call && node->text == rebuild_parameter) {
      const PickleNode& arguments = pickle_[node->children[0]];
      if (arguments.children.empty()) throw FormatError("parameter " + shown_name(name) + " is empty");
      node = &pickle_[arguments.children[0]];
    }
    if (node->kind != Kind::call || (node->text != rebuild_tensor && node->text != rebuild_old_tensor))
      return {};
    const PickleNode& arguments = pickle_[node->children[0]];
    if (arguments.children.size() < 4)
      throw FormatError("tensor " + shown_name(name) + " is made from too few arguments");
    const StorageReference reference = storage_reference(pickle_, arguments.children[0]);
    const PickleNode& offset = pickle_[arguments.children[1]];
    if (offset.kind != Kind::integer) throw FormatError("tensor " + shown_name(name) + " has no offset");
    ArrayView view{reference.type, sizes(pickle_, arguments.children[2]),
                   sizes(pickle_, arguments.children[3]), offset.integer,
                   storage_bytes(reference, storages_)};
    return checked(view, name);
  }

  const Pickle& pickle_;
  const Storages& storages_;
  std::vector<NamedArray> tensors_;
};

TensorList read_zip_format(Bytes file) {
  const std::vector<ZipEntry> entries = read_zip(file);
  const ZipEntry* pickle_entry = nullptr;
  for (const ZipEntry& entry : entries) {
    const std::size_t slash = entry.name.find('/');
    if (slash == entry.name.npos) continue;
    const std::string inner = entry.name.substr(slash + 1);
    if (inner == "data.pkl") pickle_entry = &entry;
    if (inner == "constants.pkl" || inner.rfind("code/", 0) == 0)
      throw FormatError("it is a TorchScript archive, which is code: save model.state_dict()");
  }
  for (const ZipEntry& entry : entries) {
    if (!entry.stored)
      throw FormatError("the zip entry " + shown_name(entry.name) +
                        " is compressed, torch.save stores: unpack the archive and pack it again with `zip -0`");
    if (entry.name.ends_with("/byteorder") && std::string(entry.data.begin(), entry.data.end()) != "little")
      throw FormatError("it was written by a big-endian machine: save it again on a little-endian one");
  }
  if (!pickle_entry) throw FormatError("it is a zip archive, but not one of torch.save: it has no data.pkl");
  const std::string root = pickle_entry->name.substr(0, pickle_entry->name.find('/') + 1) + "data/";
  Storages storages;
  for (const ZipEntry& entry : entries)
    if (entry.name.rfind(root, 0) == 0) storages[entry.name.substr(root.size())] = entry.data;
  std::size_t position = 0;
  const Pickle pickle = read_pickle(pickle_entry->data, position, known);
  return {"torch zip", Walk(pickle, storages).run(), {}};
}

/// 0x1950a86a20f9469cfc6c, as the bytes of a pickled long.
const std::string& legacy_magic() {
  static const std::string magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
  return magic;
}

void check_little_endian(const Pickle& system) {
  for (const auto& [key, value] : system.top().items)
    if (system[key].text == "little_endian" && system[value].integer == 0)
      throw FormatError("it was written by a big-endian machine: save it again on a little-endian one");
}

/// Element sizes of the storages that the pickle refers to, by the key of their data.
std::unordered_map<std::string, ElementType> legacy_types(const Pickle& pickle) {
  std::unordered_map<std::string, ElementType> types;
  for (PickleId id = 0; id < pickle.nodes.size(); ++id)
    if (pickle[id].kind == Kind::persistent) {
      const StorageReference reference = storage_reference(pickle, id);
      types[reference.key] = reference.type;
    }
  return types;
}

TensorList read_legacy_format(Bytes file) {
  std::size_t position = 0;
  const Pickle magic = read_pickle(file, position, known);
  if (magic.top().kind != Kind::integer || magic.top().text != legacy_magic())
    throw FormatError("it is a pickle, but not one of torch.save");
  const Pickle protocol = read_pickle(file, position, known);
  if (protocol.top().integer != 1001)
    throw FormatError("torch.save's protocol is " + std::to_string(protocol.top().integer) +
                      ", known is 1001");
  check_little_endian(read_pickle(file, position, known));
  const Pickle pickle = read_pickle(file, position, known);
  const Pickle keys = read_pickle(file, position, known);
  if (keys.top().kind != Kind::sequence) throw FormatError("it has no list of storages");
  const auto types = legacy_types(pickle);
  ByteReader reader(file, position);
  Storages storages;
  for (const PickleId id : keys.top().children) {
    const std::string key = key_text(keys[id]);
    const auto type = types.find(key);
    if (type == types.end())
      throw FormatError("it has data of storage " + shown_name(key) + ", which none uses");
    const auto count = reader.read<uint64_t>();
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(count, size_of(type->second), &bytes))
      throw FormatError("storage " + shown_name(key) + " is too large");
    storages[key] = reader.take(bytes);
  }
  return {"torch legacy", Walk(pickle, storages).run(), {}};
}

}  // namespace

TensorList read_torch(Bytes file) {
  return looks_like_zip(file) ? read_zip_format(file) : read_legacy_format(file);
}

TensorList read_tensors(Bytes file) {
  if (file.empty()) throw FormatError("the file is empty");
  constexpr unsigned char pickle_protocol = 0x80;
  if (looks_like_zip(file) || (file.size() > 1 && file[0] == pickle_protocol && file[1] <= 5 && file[1] > 0 &&
                               !(file.size() > 9 && file[8] == '{')))
    return read_torch(file);
  if (file.size() > 9 && file[8] == '{') return read_safetensors(file);
  throw FormatError("it is neither a file of torch.save nor a safetensors file");
}

}  // namespace rtfq::formats
