# The two images, `node` and `control-plane`: bytecode on a bare Python, for a user who is nobody. `docker build .` makes
# the node's. What it takes to get the same bytes twice is told in docs/running.md, "Build it yourself".

ARG BASE=python:3.13-slim-trixie
FROM ${BASE} AS base

# What runs Python, without what installs, compiles or raises anybody's rights, and without a source.
FROM base AS bare
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=bind,from=base,target=/base \
    --mount=type=bind,source=compile_bytecode.py,target=/compile_bytecode.py <<'END'
set -eu
cp -a /base /rootfs
cd /rootfs
# the engine puts its own there
rm -rf dev/* proc/* sys/* run/* tmp/* var/tmp/* var/log/* root/.[!.]*
# package managers; the list of what is installed stays, without them: scanners read it
awk -v RS= -v ORS='\n\n' '$2 !~ /^(apt|libapt-pkg.*|dpkg|perl-base|debconf|python3-(pip.*|setuptools.*|wheel|packaging)|python3.*-venv)$/' \
  /base/var/lib/dpkg/status >var/lib/dpkg/status
rm -rf etc/apt usr/bin/apt* usr/lib/apt usr/lib/*/libapt-* var/lib/apt var/cache/* \
  usr/bin/dpkg* usr/sbin/dpkg* usr/sbin/start-stop-daemon usr/lib/dpkg usr/libexec/dpkg usr/share/dpkg var/lib/dpkg/info var/lib/dpkg/*-old
# other languages, compilers' files, papers
rm -rf usr/bin/perl* usr/lib/*/perl* usr/share/perl* usr/local/include usr/include usr/lib/python3 usr/share/python3* \
  usr/share/python-wheels etc/python3* usr/share/gdb usr/share/man usr/share/doc usr/share/info usr/share/locale \
  usr/local/share/man usr/share/lintian usr/share/bash-completion usr/share/debconf usr/lib/ssl/misc
find usr/bin usr/sbin usr/local/bin usr/local/sbin -type f -exec grep -lIE -m1 '^#!.*(perl|python)' {} + | xargs -r rm
find . -xdev -perm /6000 -exec chmod ug-s {} +
# Python's own library; what it comes with beside that is pip, and what nobody runs here
library=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
cp -aL "/base$library" /library
rm -rf ".$library"
mkdir -p opt/trading-node
python /compile_bytecode.py /library "/rootfs$library" --manifest opt/trading-node/python.sha256 \
  --drop 'site-packages/*' --drop 'dist-packages/*' --drop 'ensurepip/*' --drop 'venv/*' --drop 'config-*' --drop 'test/*' \
  --drop 'idlelib/*' --drop 'tkinter/*' --drop 'turtledemo/*' --drop 'turtle.py' --drop 'pydoc_data/*' --drop 'lib2to3/*' \
  --drop '__phello__/*'
find . -xdev \( -name '*.py' -o -name __pycache__ \) -prune -exec rm -rf {} +
find . -xtype l -path './usr/*bin/*' -delete
# A copy out of the cache is looked for by what it holds and not by its times: so what it holds tells them.
echo "$SOURCE_DATE_EPOCH" >opt/trading-node/python.time
# What is left of the base, file by file.
find . -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | tr '\0' '\n' | sed 's#  \./#  ../../#' >/system.sha256
mv /system.sha256 opt/trading-node/system.sha256
find . -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
END

FROM base AS tools
RUN --mount=type=bind,source=build/requirements/sbom.txt,target=/sbom.txt \
    python -m venv /tools && \
    /tools/bin/pip install --quiet --no-cache-dir --root-user-action ignore --no-deps --require-hashes --only-binary :all: -r /sbom.txt

# An image in two stages: the wheels of its lock file with our packages, and what is made of them on the bare Python.
FROM base AS node-sources
RUN --mount=type=bind,source=build/requirements/node.txt,target=/lock.txt \
    pip install --quiet --no-cache-dir --root-user-action ignore --no-deps --require-hashes --only-binary :all: --target /sources -r /lock.txt
COPY node_protocol /sources/node_protocol
COPY node_agent /sources/node_agent

FROM base AS node-compiled
ARG SOURCE_DATE_EPOCH=0
ARG EXCHANGES="binance coinbase cryptocom kraken okx polymarket"
RUN --mount=type=bind,source=build,target=/build \
    --mount=type=bind,source=compile_bytecode.py,target=/compile_bytecode.py \
    --mount=type=bind,from=tools,source=/tools,target=/tools \
    --mount=type=bind,from=bare,source=/rootfs,target=/rootfs \
    --mount=type=bind,from=node-sources,source=/sources,target=/sources \
    /build/compile_image node $(printf -- '--keep=ccxt/a*/%s.py ' $EXCHANGES)

FROM base AS control-plane-sources
RUN --mount=type=bind,source=build/requirements/control-plane.txt,target=/lock.txt \
    pip install --quiet --no-cache-dir --root-user-action ignore --no-deps --require-hashes --only-binary :all: --target /sources -r /lock.txt
COPY node_protocol /sources/node_protocol
COPY verifier /sources/verifier
COPY control_plane /sources/control_plane

FROM base AS control-plane-compiled
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=bind,source=build,target=/build \
    --mount=type=bind,source=compile_bytecode.py,target=/compile_bytecode.py \
    --mount=type=bind,from=tools,source=/tools,target=/tools \
    --mount=type=bind,from=bare,source=/rootfs,target=/rootfs \
    --mount=type=bind,from=control-plane-sources,source=/sources,target=/sources \
    /build/compile_image control-plane

# What `docker build --output` lays beside the images.
FROM scratch AS node-papers
COPY --from=node-compiled /out/opt/trading-node/manifest.sha256 /out/opt/trading-node/sbom.cdx.json /node/
COPY --from=bare /rootfs/opt/trading-node/python.sha256 /rootfs/opt/trading-node/system.sha256 /node/
FROM scratch AS control-plane-papers
COPY --from=control-plane-compiled /out/opt/trading-node/manifest.sha256 /out/opt/trading-node/sbom.cdx.json /control-plane/
COPY --from=bare /rootfs/opt/trading-node/python.sha256 /rootfs/opt/trading-node/system.sha256 /control-plane/

# One layer an image: of a layer with another below it, engines write the files down in one order or in another, by how
# they came to the one below; and so the same files would be two images.
FROM scratch AS control-plane
COPY --from=control-plane-compiled /out/ /
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="control-plane" \
      org.opencontainers.image.description="The reference server of trading nodes" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/trading-node/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=/tmp TRADING_NODE_ROOT=refuse
USER 10001:10001
WORKDIR /data
EXPOSE 8099
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s --start-interval=1s --retries=3 CMD ["control-plane", "health"]
ENTRYPOINT ["control-plane"]
CMD ["serve", "--data-dir", "/data", "--host", "0.0.0.0"]

FROM scratch AS node
COPY --from=node-compiled /out/ /
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="trading-node" \
      org.opencontainers.image.description="A node that trades at home, under its owner's limits" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/trading-node/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=/tmp TRADING_NODE_ROOT=refuse NODE_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s --start-interval=1s --retries=3 CMD ["node-agent", "health"]
ENTRYPOINT ["node-agent"]
CMD ["run"]
