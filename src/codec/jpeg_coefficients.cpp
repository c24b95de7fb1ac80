// JPEG files as coefficients.
#include <algorithm>

#include "codec/jpeg.h"
#include "codec/jpeg_session.h"

namespace imagecalc {
namespace jpeg {
namespace {

constexpr std::size_t kMaxKept = std::size_t{4} << 20;

thread_local BlockMemory thread_blocks;

jvirt_barray_ptr request(j_common_ptr info, int pool, boolean, JDIMENSION across, JDIMENSION down, JDIMENSION) {
  ReadSession& session = *static_cast<ReadSession*>(info->client_data);
  auto* array = static_cast<BlockArray*>(info->mem->alloc_small(info, pool, sizeof(BlockArray)));
  array->across = across;
  array->down = down;
  array->rows = static_cast<JBLOCKROW*>(info->mem->alloc_large(info, pool, sizeof(JBLOCKROW) * down));
  JBLOCKROW blocks = session.memory.take(std::size_t{across} * down);
  if (blocks == nullptr) give_up(session.errors, Fault::out_of_memory, "not enough memory for a JPEG picture");
  for (JDIMENSION row = 0; row < down; ++row) array->rows[row] = blocks + std::size_t{across} * row;
  return reinterpret_cast<jvirt_barray_ptr>(array);
}

JBLOCKARRAY access(j_common_ptr info, jvirt_barray_ptr pointer, JDIMENSION first, JDIMENSION count, boolean) {
  const BlockArray& array = block_array(pointer);
  if (first > array.down || count > array.down - first) {
    give_up(static_cast<ReadSession*>(info->client_data)->errors, Fault::internal, "JPEG blocks outside their picture");
  }
  return array.rows + first;
}

void read_arrays(ReadSession& session) { session.arrays = jpeg_read_coefficients(&session.info); }

JpegComponent component(const ReadSession& session, int c) {
  const jpeg_decompress_struct& info = session.info;
  const jpeg_component_info& from = info.comp_info[c];
  const BlockArray& array = block_array(session.arrays[c]);
  JpegComponent result{};
  result.repeat_across = info.max_h_samp_factor / from.h_samp_factor;
  result.repeat_down = info.max_v_samp_factor / from.v_samp_factor;
  result.blocks_across = static_cast<int>(from.width_in_blocks);
  result.blocks_down = static_cast<int>(from.height_in_blocks);
  std::copy_n(from.quant_table->quantval, result.steps.size(), result.steps.begin());
  result.blocks = array.rows[0][0];
  result.row_stride = std::size_t{array.across} * DCTSIZE2;
  return result;
}

}  // namespace

JBLOCKROW BlockMemory::take(std::size_t blocks) noexcept {
  if (used_ == kMaxComponents) return nullptr;
  Area& area = areas_[used_++];
  if (area.capacity >= blocks) {
    std::fill_n(area.blocks[0], blocks * DCTSIZE2, JCOEF{0});
    return area.blocks;
  }
  std::free(area.blocks);
  area.blocks = static_cast<JBLOCKROW>(std::calloc(blocks, sizeof(JBLOCK)));
  area.capacity = area.blocks == nullptr ? 0 : blocks;
  return area.blocks;
}

std::size_t BlockMemory::size() const noexcept {
  std::size_t blocks = 0;
  for (const Area& area : areas_) blocks += area.capacity;
  return blocks * sizeof(JBLOCK);
}

BlockMemory kept_blocks() noexcept { return std::move(thread_blocks); }

void keep_blocks(BlockMemory memory) noexcept {
  if (memory.size() > kMaxKept) return;
  memory.rewind();
  thread_blocks = std::move(memory);
}

void use_own_blocks(j_decompress_ptr info) {
  info->mem->request_virt_barray = request;
  info->mem->access_virt_barray = access;
}

}  // namespace jpeg

bool JpegFile::has_jfif_planes() const {
  const jpeg_decompress_struct& info = session_->info;
  const bool gray = info.num_components == 1 && info.jpeg_color_space == JCS_GRAYSCALE;
  const bool colour = info.num_components == 3 && info.jpeg_color_space == JCS_YCbCr;
  const auto is_whole = [&](const jpeg_component_info& component) {
    return info.max_h_samp_factor % component.h_samp_factor == 0 && info.max_v_samp_factor % component.v_samp_factor == 0;
  };
  return (gray || colour) && std::all_of(info.comp_info, info.comp_info + info.num_components, is_whole);
}

std::optional<std::vector<JpegComponent>> JpegFile::read_coefficients() {
  run(jpeg::read_arrays);
  run(jpeg::check_complete);
  if (!jpeg::has_all_scans(*session_)) return std::nullopt;
  std::vector<JpegComponent> components;
  for (int c = 0; c < session_->info.num_components; ++c) components.push_back(jpeg::component(*session_, c));
  return components;
}

}  // namespace imagecalc
