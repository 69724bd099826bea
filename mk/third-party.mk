# SPDX-License-Identifier: BSD-2-Clause
# Libraries that the kernel links in, fetched into build/third-party as pinned Debian source archives (mk/fetch).
#
# $(call third_party,NAME,POOL-PATH,SHA256) makes the rule for build/third-party/NAME/.fetched. What is built from it depends on
# that file; its own files are made by it as far as make is concerned.

THIRD_PARTY := $(BUILD)/third-party

define third_party
$(THIRD_PARTY)/$1/.fetched: mk/third-party.mk mk/fetch
	$$(call say,FETCH,$(notdir $2))
	$$(Q)mk/fetch $(THIRD_PARTY)/$1 $2 $3
$(THIRD_PARTY)/$1/%.c $(THIRD_PARTY)/$1/%.h: $(THIRD_PARTY)/$1/.fetched ;
endef

# libfdt, out of the device tree compiler 1.7.2: reads the tree by which Arm machines describe themselves.
DTC := $(THIRD_PARTY)/dtc
$(eval $(call third_party,dtc,pool/main/d/device-tree-compiler/device-tree-compiler_1.7.2.orig.tar.xz,92d8ca769805ae1f176204230438fe52808f4e1c7944053c9eec0e649b237539))

# lwIP 2.2.1: the TCP/IP stack.
LWIP := $(THIRD_PARTY)/lwip
$(eval $(call third_party,lwip,pool/main/l/lwip/lwip_2.2.1+dfsg1.orig.tar.xz,83729c274c499d3348e9fbbe043a3113f3fa8953e7efddc7c21c7fcbb1f2b7b1))

## fetch: get the sources of other projects that the kernel is built with (make kernel does it when they are missing)
fetch: $(LWIP)/.fetched $(DTC)/.fetched
.PHONY: fetch
