// icimage: what a value tells about itself, and the list of formats.
#include <cstring>

#include "codec/tensor.h"
#include "pg/datum.h"
#include "pg/icimage.h"
#include "pg/settings.h"
#include "pg/wall.h"

using namespace imagecalc;

namespace imagecalc {

ValueHeader stored_header(Datum value) {
  const struct varlena* head = pg([&] {
    return reinterpret_cast<struct varlena*>(PG_DETOAST_DATUM_SLICE(value, 0, static_cast<int32>(kValueHeaderSize)));
  });
  return read_value_header(varlena_bytes(head), current_limits());
}

}  // namespace imagecalc

IC_FUNCTION(ic_format) { return text_datum(to_string(stored_header(PG_GETARG_DATUM(0)).format)); }

IC_FUNCTION(ic_width) { return Int32GetDatum(static_cast<int32>(stored_header(PG_GETARG_DATUM(0)).source_width)); }

IC_FUNCTION(ic_height) { return Int32GetDatum(static_cast<int32>(stored_header(PG_GETARG_DATUM(0)).source_height)); }

namespace {

constexpr int kTensorChannels = 3;

// Not every value fits: of one that drops nothing, an array holds 45 million pixels.
void check_array_size(const ValueHeader& header) {
  const std::int64_t elements = kTensorChannels * header.geometry().tensor_area();
  if (elements <= static_cast<std::int64_t>(MaxArraySize)) return;
  throw Error(Fault::limit_exceeded,
              "the value has " + std::to_string(elements) + " coefficients, more than the " + std::to_string(MaxArraySize) +
                  " that an array can hold",
              "Cast it to a format that keeps fewer coefficients first.");
}

}  // namespace

// real[3][nH*k][nW*k], dequantized, not normalised.
IC_FUNCTION(ic_coefficients) {
  const struct varlena* value = PG_GETARG_VARLENA_PP(0);
  check_array_size(read_value_header(varlena_bytes(value), current_limits()));
  const StoredImage image = read_image(varlena_bytes(value), current_limits(), BackendInterrupt());
  const Geometry shape = image.header.geometry();

  constexpr int kDimensions = 3;
  const std::size_t header = ARR_OVERHEAD_NONULLS(kDimensions);
  const std::size_t size = header + kTensorChannels * static_cast<std::size_t>(shape.tensor_area()) * sizeof(float);
  auto* array = static_cast<ArrayType*>(allocate(size));
  std::memset(array, 0, header);
  SET_VARSIZE(array, size);
  array->ndim = kDimensions;
  array->elemtype = FLOAT4OID;
  const int extents[kDimensions] = {kTensorChannels, shape.tensor_height, shape.tensor_width};
  for (int i = 0; i < kDimensions; ++i) {
    ARR_DIMS(array)[i] = extents[i];
    ARR_LBOUND(array)[i] = 1;
  }
  place(image, reinterpret_cast<float*>(ARR_DATA_PTR(array)));
  return PointerGetDatum(array);
}

// The design space at one size (NULL: native), a row a format.
IC_FUNCTION(ic_formats) {
  InitMaterializedSRF(fcinfo, 0);
  const bool native = PG_ARGISNULL(0);
  const int size = native ? 0 : PG_GETARG_INT32(0);
  if (!native && (size < kSizeStep || size > kMaxSize || size % kSizeStep))
    throw Error(Fault::invalid_argument, "size " + std::to_string(size) + " is out of range",
                "Choose a multiple of 8 from 8 to 8184, or NULL for the picture's own size.");

  static const char* const kSubsamplings[] = {"1x1", "2x2r", "2x2c", "4x4"};
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  for (const Format& format : design_space(size)) {
    Datum row[7];
    bool nulls[7] = {};
    row[0] = text_datum(to_string(format));
    row[1] = text_datum(kSubsamplings[static_cast<int>(format.subsampling)]);
    row[2] = Int32GetDatum(format.block);
    row[3] = Int32GetDatum(format.kept);
    row[4] = Int32GetDatum(format.quantizer);
    nulls[5] = nulls[6] = native;
    if (!native) {
      const Geometry shape = geometry(format, size, size);
      row[5] = Int32GetDatum(shape.tensor_height);
      row[6] = Int32GetDatum(shape.tensor_width);
    }
    pg([&] { tuplestore_putvalues(result->setResult, result->setDesc, row, nulls); });
  }
  return Datum{0};
}
