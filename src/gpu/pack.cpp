#include "gpu/pack.h"

#include <algorithm>
#include <cstring>

#include "gpu/entropy.h"

namespace imagecalc::gpu {

namespace {

constexpr std::uint64_t kAlignment = 16;

std::uint64_t aligned(std::uint64_t place) { return (place + kAlignment - 1) / kAlignment * kAlignment; }

const ValueHeader& header_of(const Sent& image) {
  const auto* stored = std::get_if<StoredImage>(&image);
  return stored ? stored->header : std::get<StoredPayload>(image).header;
}

Bytes bytes_of(const Sent& image) {
  const auto* stored = std::get_if<StoredImage>(&image);
  return stored ? Bytes(stored->planes.bytes(), stored->planes.size()) : std::get<StoredPayload>(image).bytes;
}

std::span<const BytePlanes::Large> large_of(const Sent& image) {
  const auto* stored = std::get_if<StoredImage>(&image);
  return stored ? std::span(stored->planes.large) : std::span<const BytePlanes::Large>();
}

BatchShape shape_of(const ValueHeader& header, std::size_t images) {
  const Geometry geometry = header.geometry();
  if (geometry.tensor_area() >= std::int64_t{1} << 30) {
    throw Error(Fault::limit_exceeded, "an image is too large for a device", "Use a format with a size, or the CPU.");
  }
  if (images > (std::size_t{1} << 20)) {
    throw Error(Fault::limit_exceeded, "there are too many images for a batch", "Lower imagecalc.batch_size.");
  }
  return {static_cast<int>(images), header.format.kept, geometry.blocks_across, geometry.blocks_down};
}

bool is_like(const BatchShape& a, const BatchShape& b) {
  return a.kept == b.kept && a.blocks_across == b.blocks_across && a.blocks_down == b.blocks_down;
}

}  // namespace

const Format& format_of(const Sent& image) { return header_of(image).format; }

bool device_decodes(const StoredPayload& payload) {
  const std::int64_t channel_size = payload.header.value_count() / payload.header.channels;
  return payload.coder == Coder::rans && !payload.bytes.empty() && channel_size <= std::int64_t{kMostOfAChannel};
}

BatchLayout lay_out(std::span<const Sent> images) {
  const ValueHeader& first = header_of(images.front());
  BatchLayout layout{.shape = shape_of(first, images.size())};
  layout.bytes = aligned(images.size() * sizeof(ImageEntry));
  std::size_t large = 0;
  for (const Sent& image : images) {
    const ValueHeader& header = header_of(image);
    if (header.format != first.format || !is_like(shape_of(header, 1), layout.shape)) {
      throw Error(Fault::wrong_format, "the images of a batch differ in format or size",
                  "Put images of one format and size together.");
    }
    layout.bytes += aligned(bytes_of(image).size());
    if (const auto* payload = std::get_if<StoredPayload>(&image)) {
      if (!device_decodes(*payload)) throw Error(Fault::invalid_argument, "a device does not decode such a value");
      layout.has_payloads = true;
    }
    layout.most_large = std::max(layout.most_large, static_cast<std::uint32_t>(large_of(image).size()));
    large += large_of(image).size();
  }
  layout.large_begin = layout.bytes;
  layout.bytes += large * sizeof(Large);
  return layout;
}

void pack(std::span<const Sent> images, const BatchLayout& layout, std::uint8_t* batch) {
  auto* entries = reinterpret_cast<ImageEntry*>(batch);
  auto* large = reinterpret_cast<Large*>(batch + layout.large_begin);
  std::uint64_t begin = aligned(images.size() * sizeof(ImageEntry));
  std::uint32_t larges = 0;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const Bytes bytes = bytes_of(images[i]);
    const auto own = large_of(images[i]);
    const bool is_payload = std::holds_alternative<StoredPayload>(images[i]);
    entries[i] = {begin, is_payload ? static_cast<std::uint32_t>(bytes.size()) : 0,
                  static_cast<std::uint32_t>(header_of(images[i]).channels), larges, static_cast<std::uint32_t>(own.size())};
    std::memcpy(batch + begin, bytes.data(), bytes.size());
    begin += aligned(bytes.size());
    for (const BytePlanes::Large& one : own) large[larges++] = {static_cast<std::uint32_t>(one.place), one.value};
  }
}

Affine affine_of(const Format& format, const Normalisation& normalisation) {
  Affine affine;
  for (int c = 0; c < kTensorChannels; ++c) {
    affine.factor[c] = static_cast<float>(format.quantizer) / normalisation.deviation[c];
    affine.shift[c] = -normalisation.mean[c] / normalisation.deviation[c];
  }
  return affine;
}

}  // namespace imagecalc::gpu
