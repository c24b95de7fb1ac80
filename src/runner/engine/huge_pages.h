// Where the weights of a model lie.
#pragma once

namespace imagecalc {

// Moves this process's heaps into huge pages, as far as they are full and the kernel (Linux 6.1 on) has such pages to give;
// not where transparent huge pages are set to never. A model reads all its weights for each image: from huge pages one image
// of ResNet50 takes a tenth to a sixth less time. Asking malloc for huge pages does less: what is compiled lies in them or
// not, by what was freed before. Other threads may go on.
void move_heaps_to_huge_pages() noexcept;

}  // namespace imagecalc
