# syntax=docker/dockerfile:1

# docker build --build-arg VERSION="$(git describe --tags --always)" -t postrider .

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unversioned
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/bin/postrider ./cmd/postrider \
    && mkdir /out/data

# No shell, no package manager: certificates, time zones and the one file.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/bin/postrider /usr/local/bin/postrider
# A volume that is mounted here for the first time takes over this folder's owner.
COPY --from=build --chown=65532:65532 --chmod=700 /out/data /var/lib/postrider
ENV POSTRIDER_DATA_DIR=/var/lib/postrider
USER 65532:65532
WORKDIR /var/lib/postrider
# That the program still starts in this container (memory, file system). It asks
# nobody: `postrider doctor` would spend requests of the provider's rate.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/postrider", "version"]
ENTRYPOINT ["/usr/local/bin/postrider"]
CMD ["help"]
