// Frames and fields: how messages are laid out as bytes.
//
// A frame is a uint32 length of all that follows it, a byte that names the message, and the message's fields in order.
// Integers and floats are little-endian, strings and blobs a uint32 length and their bytes, lists a uint32 count and their
// items. A reader checks every length against what is left, so that a damaged message is Error(protocol) and nothing else.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "format/error.h"

namespace imagecalc {

inline constexpr std::size_t kFrameHeaderSize = 5;
inline constexpr std::uint32_t kMaxFrameSize = 512u << 20;  // a model is at most 400 MB

using Blob = std::vector<std::uint8_t>;

class Writer {
 public:
  template <typename T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void put(T value) {
    append(&value, sizeof value);
  }
  void put(std::string_view text) {
    put_count(text.size());
    append(text.data(), text.size());
  }
  void put_count(std::size_t count);
  template <typename T>
    requires std::is_arithmetic_v<T>
  void put_list(const std::vector<T>& list) {
    put_count(list.size());
    append(list.data(), list.size() * sizeof(T));
  }

  Blob take() { return std::move(bytes_); }

 private:
  // Error(limit_exceeded) past kMaxFrameSize.
  void append(const void* data, std::size_t size);
  [[noreturn]] static void throw_too_large();

  Blob bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  template <typename T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  T get() {
    T value;
    std::memcpy(&value, next(sizeof value).data(), sizeof value);
    return value;
  }
  std::string get_string() {
    auto bytes = next(get<std::uint32_t>());
    return {bytes.begin(), bytes.end()};
  }
  // The count of a list whose items take at least item_size bytes each: never more than the frame can hold.
  std::size_t get_count(std::size_t item_size);
  template <typename T>
    requires std::is_arithmetic_v<T>
  std::vector<T> get_list() {
    auto bytes = next(get_count(sizeof(T)) * sizeof(T));
    std::vector<T> list(bytes.size() / sizeof(T));
    if (!list.empty()) std::memcpy(list.data(), bytes.data(), bytes.size());
    return list;
  }
  void expect_end() const;

 private:
  std::span<const std::uint8_t> next(std::size_t size);

  std::span<const std::uint8_t> rest_;
};

}  // namespace imagecalc
