# A static binary on an empty file system, running as nobody in particular.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /oncesink ./cmd/oncesink

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /oncesink /oncesink
USER 65532:65532
ENV ONCESINK_CONFIG=/etc/oncesink/oncesink.yaml
# Whether the loops of `run` turn. Who runs something else leaves it out: docker run --no-healthcheck
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/oncesink", "health"]
ENTRYPOINT ["/oncesink"]
CMD ["run", "--config", "/etc/oncesink/oncesink.yaml"]
