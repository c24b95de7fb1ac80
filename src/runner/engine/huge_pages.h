// Where the weights of a model lie.
#pragma once

namespace imagecalc {

// Moves this process's heaps into huge pages, as far as they are full and the kernel (Linux 6.1 on) has such pages to give;
// not where transparent huge pages are set to never. A model reads all its weights for each image: from huge pages one image of ResNet50 takes a sixth less time. Asking malloc
// for huge pages does less, as it takes many small steps: what is compiled is found in them or not, by how it came to lie.
// Takes about a quarter of a second for each GB that is not in such pages yet. Other threads may go on.
void move_heaps_to_huge_pages() noexcept;

}  // namespace imagecalc
