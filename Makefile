# The front that packagers expect: PGXS builds and installs the extension. CMake builds the plain C++ libraries that it
# links, and imagecalc-runner where LibTorch is found.
#
#   make; make install; make installcheck       PG_CONFIG=...  DESTDIR=...  WITH_TORCH=no  WITH_OPENVINO=no  WITH_CUDA=1
#
# WITH_TORCH: no, or the folder `torch` of a PyPI wheel (scripts/pytorch.sh), to build with instead of the system's LibTorch.
# WITH_CUDA: 1 builds the runner's plug-in for GPUs as well, with the LibTorch of such a wheel; scripts/build_cuda.sh gets what it takes.

EXTENSION = imagecalc
EXTVERSION = 1.0
MODULE_big = imagecalc

BUILD = build
OBJS := $(patsubst src/pg/%.cpp,$(BUILD)/pg/%.o,$(wildcard src/pg/*.cpp))
LAYERS = $(addprefix $(BUILD)/libimagecalc_,design.a codec.a protocol.a format.a)
RUNNER = $(BUILD)/src/runner/imagecalc-runner
# OpenVINO's libraries, where the runner was built with them: a link to their folder.
OPENVINO = $(BUILD)/src/runner/imagecalc-openvino
CUDA_PLUGIN = $(BUILD)/src/runner/imagecalc-cuda.so
ENCODE = $(BUILD)/src/edge/imagecalc-encode

SQL_PARTS = $(addprefix sql/,type.sql catalog.sql models.sql design.sql apply.sql)
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql

REGRESS := $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=$(EXTENSION)

PG_CONFIG ?= pg_config
# As system headers, Postgres's own do not warn.
PG_CPPFLAGS = -Isrc -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CXXFLAGS = -std=c++20 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -Wall -Wextra -Wshadow=local -Wno-register
# With libstdc++ inside, where the compiler has it to link: every new session would load the shared one, which takes longer
# than all other libraries together.
LIBSTDCXX = $(shell $(CXX) -print-file-name=libstdc++.a)
SHLIB_LINK = -Wl,--version-script=src/pg/exports.map $(LAYERS) -ljpeg -lspng -lwebpdemux -lwebp -lzstd \
  $(if $(findstring /,$(LIBSTDCXX)),-static-libgcc $(LIBSTDCXX),-lstdc++) -lm
EXTRA_CLEAN = $(BUILD)

# The machine code is C++ behind C symbols: there is nothing for Postgres's JIT to inline.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

CCACHE := $(shell command -v ccache)
WITH_CUDA ?= no
WITH_CUDA_ON = $(filter-out no 0,$(WITH_CUDA))
WITH_TORCH ?= $(if $(WITH_CUDA_ON),.deps/pytorch/torch,auto)
WITH_OPENVINO ?= auto
ifneq ($(WITH_CUDA_ON),)
ifneq ($(filter auto no,$(WITH_TORCH)),)
$(error WITH_CUDA needs the LibTorch of a PyPI wheel: leave WITH_TORCH out, or name its folder)
endif
endif
MAKEFLAGS += --no-print-directory

.PHONY: layers install-programs uninstall-programs
.DELETE_ON_ERROR:

all: layers

# One stamp for each way to configure, so that a changed option is seen, and OpenVINO when it comes; CMake itself sees
# changed lists.
CONFIGURED = $(BUILD)/configured.torch-$(subst /,_,$(WITH_TORCH)).openvino-$(WITH_OPENVINO).cuda-$(WITH_CUDA)
$(CONFIGURED): $(wildcard .deps/openvino/version)
	rm -f $(BUILD)/configured.*
	cmake -S . -B $(BUILD) -DCMAKE_CXX_COMPILER='$(CXX)' -DIMAGECALC_TESTS=OFF \
	  -DIMAGECALC_RUNNER=$(if $(filter no,$(WITH_TORCH)),OFF,ON) \
	  -DIMAGECALC_TORCH_ROOT='$(abspath $(filter-out auto no,$(WITH_TORCH)))' \
	  -DIMAGECALC_CUDA=$(if $(WITH_CUDA_ON),ON,OFF) \
	  -DIMAGECALC_OPENVINO=$(if $(filter no,$(WITH_OPENVINO)),OFF,AUTO) \
	  $(if $(CCACHE),-DCMAKE_CXX_COMPILER_LAUNCHER='$(CCACHE)')
	touch $@

layers: $(CONFIGURED)
	+cmake --build $(BUILD)

$(LAYERS): layers ;

$(MODULE_big)$(DLSUFFIX): $(LAYERS) src/pg/exports.map

$(BUILD)/pg/%.o: src/pg/%.cpp
	@$(MKDIR_P) $(@D)
	$(CCACHE) $(CXX) $(CXXFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJS:.o=.d)

$(DATA_built): $(SQL_PARTS)
	cat $^ > $@

# A server may be at work with these files: each is written beside its place and put there whole.
install: install-programs
install-programs: all installdirs
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) $(ENCODE) '$(DESTDIR)$(bindir)/imagecalc-encode'
	rm -rf '$(DESTDIR)$(pkglibdir)/imagecalc-openvino.new'
	if [ -d $(OPENVINO) ]; then \
	  $(MKDIR_P) '$(DESTDIR)$(pkglibdir)/imagecalc-openvino.new' && \
	  $(INSTALL_SHLIB) $(OPENVINO)/* '$(DESTDIR)$(pkglibdir)/imagecalc-openvino.new/'; \
	fi
	if [ -x $(RUNNER) ]; then $(INSTALL_PROGRAM) $(RUNNER) '$(DESTDIR)$(pkglibdir)/imagecalc-runner.new'; fi
	rm -rf '$(DESTDIR)$(pkglibdir)/imagecalc-openvino' '$(DESTDIR)$(pkglibdir)/imagecalc-cuda.so'
	if [ -n '$(WITH_CUDA_ON)' ]; then $(INSTALL_SHLIB) $(CUDA_PLUGIN) '$(DESTDIR)$(pkglibdir)/imagecalc-cuda.so.new'; fi
	cd '$(DESTDIR)$(pkglibdir)' && for name in imagecalc-openvino imagecalc-cuda.so imagecalc-runner; do \
	  if [ -e $$name.new ]; then mv -f $$name.new $$name; fi; \
	done

uninstall: uninstall-programs
uninstall-programs:
	rm -f '$(DESTDIR)$(bindir)/imagecalc-encode' '$(DESTDIR)$(pkglibdir)/imagecalc-runner'
	rm -rf '$(DESTDIR)$(pkglibdir)/imagecalc-openvino' '$(DESTDIR)$(pkglibdir)/imagecalc-cuda.so'
