// CRC-32C (Castagnoli), as in iSCSI, ext4 and Postgres' own checks.
#pragma once

#include <cstdint>
#include <span>

namespace imagecalc {

// before: the checksum of what comes before these bytes.
std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::uint32_t before = 0);

}  // namespace imagecalc
