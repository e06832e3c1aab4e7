# For teams that build with Docker or BuildKit: docker build --build-arg=VERSION=v0.1.0 .
# `make image` makes the image that is tested; both have the same program, at the same path and for the same user.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=devel
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH make build VERSION="$VERSION"

FROM gcr.io/distroless/static-debian13:nonroot
COPY --from=build /src/bin/wayleave /ko-app/wayleave
USER 65532:65532
ENTRYPOINT ["/ko-app/wayleave"]
