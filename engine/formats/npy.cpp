#include "engine/formats/npy.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace rtfq::formats {
namespace {

constexpr char magic[] = "\x93NUMPY";
constexpr std::size_t magic_size = 6;

/// A cursor over the header, which is the repr of a Python dictionary: {'descr': '<f4', 'fortran_order':
/// False, 'shape': (2, 3), }.
class Header {
 public:
  explicit Header(std::string text) : text_(std::move(text)) {}

  struct Values {
    std::optional<std::string> descr;
    std::optional<bool> fortran;
    std::optional<std::vector<int64_t>> shape;
  };
  Values read() {
    Values values;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        if (peek() == '[') throw FormatError("the .npy holds records, expected one number an element");
        values.descr = quoted();
      } else if (key == "fortran_order") {
        values.fortran = word();
      } else if (key == "shape") {
        values.shape = tuple();
      } else {
        throw FormatError("the .npy header has the unknown key " + shown_name(key));
      }
      if (!accept(',') && peek() != '}') malformed();
    }
    return values;
  }

 private:
  [[noreturn]] void malformed() const {
    throw FormatError("the .npy header is malformed at its byte " + std::to_string(at_));
  }
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) malformed();
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') malformed();
    const std::size_t end = text_.find(quote, ++at_);
    if (end == text_.npos) malformed();
    std::string value = text_.substr(at_, end - at_);
    at_ = end + 1;
    return value;
  }
  bool word() {
    peek();
    for (const bool value : {true, false}) {
      const std::string name = value ? "True" : "False";
      if (text_.compare(at_, name.size(), name) != 0) continue;
      at_ += name.size();
      return value;
    }
    malformed();
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> values;
    expect('(');
    while (!accept(')')) {
      peek();
      int64_t value = 0;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
      if (error != std::errc()) malformed();
      at_ = static_cast<std::size_t>(end - text_.data());
      accept('L');  // Python 2
      values.push_back(value);
      if (!accept(',') && peek() != ')') malformed();
    }
    return values;
  }
  std::string text_;
  std::size_t at_ = 0;
};

ElementType type_of(const std::string& descr) {
  static constexpr std::pair<const char*, ElementType> types[] = {
      {"f8", ElementType::f64}, {"f4", ElementType::f32}, {"f2", ElementType::f16},
      {"i8", ElementType::i64}, {"i4", ElementType::i32}, {"i2", ElementType::i16},
      {"i1", ElementType::i8},  {"u1", ElementType::u8},  {"b1", ElementType::boolean}};
  const char order = descr.empty() ? '\0' : descr[0];
  const std::string kind = descr.empty() ? "" : descr.substr(1);
  if (order == '>' && kind != "i1" && kind != "u1" && kind != "b1")
    throw FormatError("the .npy is big-endian (" + shown_name(descr) + "): save x.astype('<f4')");
  if (order == '<' || order == '|' || order == '>')
    for (const auto& [name, type] : types)
      if (kind == name) return type;
  throw FormatError("the .npy holds " + shown_name(descr) +
                    ", expected a type such as <f4: save x.astype('<f4')");
}

}  // namespace

ArrayView read_npy(Bytes file) {
  ByteReader reader(file);
  if (file.size() < magic_size || reader.text(magic_size) != std::string(magic, magic_size))
    throw FormatError("it is not a .npy file: write it with numpy.save");
  const auto major = reader.read<uint8_t>(), minor = reader.read<uint8_t>();
  if (major < 1 || major > 3 || minor != 0)
    throw FormatError("the .npy has format version " + std::to_string(major) + "." + std::to_string(minor) +
                      ", known are 1.0, 2.0 and 3.0");
  const uint64_t length = major == 1 ? reader.read<uint16_t>() : reader.read<uint32_t>();
  const Header::Values header = Header(reader.text(length)).read();
  if (!header.descr || !header.fortran || !header.shape)
    throw FormatError("the .npy header lacks descr, fortran_order or shape");
  ArrayView view;
  view.type = type_of(*header.descr);
  view.shape = *header.shape;
  view.storage = reader.take(reader.left());
  if (std::any_of(view.shape.begin(), view.shape.end(), [](int64_t size) { return size < 0; }))
    throw FormatError("the .npy has the shape " + shape_text(view.shape));
  view.strides = dense_strides(view.shape);
  if (*header.fortran) {
    std::vector<int64_t> reversed(view.shape.rbegin(), view.shape.rend());
    view.strides = dense_strides(reversed);
    std::reverse(view.strides.begin(), view.strides.end());
  }
  checked(view, "of the .npy");
  const uint64_t need = static_cast<uint64_t>(view.count()) * size_of(view.type);
  if (need != view.storage.size())
    throw FormatError("the .npy of shape " + shape_text(view.shape) + " needs " + std::to_string(need) +
                      " bytes of data, it has " + std::to_string(view.storage.size()));
  return view;
}

std::string write_npy(std::span<const float> values, std::span<const int64_t> shape) {
  int64_t count = 1;
  std::string sizes;
  for (const int64_t size : shape) {
    count *= size;
    sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  }
  if (count != static_cast<int64_t>(values.size()))
    throw std::invalid_argument("[npy] " + std::to_string(values.size()) + " values do not fill the shape " +
                                shape_text(shape));
  if (shape.size() == 1) sizes += ",";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + sizes + "), }";
  constexpr std::size_t alignment = 64, fixed = magic_size + 4;
  header.resize((fixed + header.size() + 1 + alignment - 1) / alignment * alignment - fixed - 1, ' ');
  header += '\n';
  std::string file(magic, magic_size);
  file += '\x01';
  file += '\x00';
  file += static_cast<char>(header.size() & 0xFF);
  file += static_cast<char>(header.size() >> 8);
  file += header;
  file.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return file;
}

}  // namespace rtfq::formats
