// Package testbucket gives tests a store that speaks S3's protocol, in the process and in memory.
package testbucket

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Bucket is the one that there is.
const Bucket = "records"

// Start starts a store for a test and returns its endpoint. around, if not nil, stands between clients and the store. The environment gets credentials.
func Start(t testing.TB, around func(http.Handler) http.Handler) (endpoint string) {
	t.Helper()
	endpoint, stop, err := Serve(around)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	for name, value := range Environment() {
		t.Setenv(name, value)
	}
	return endpoint
}

// Serve starts a store.
func Serve(around func(http.Handler) http.Handler) (endpoint string, stop func(), err error) {
	back := s3mem.New()
	if err := back.CreateBucket(Bucket); err != nil {
		return "", nil, err
	}
	handler := gofakes3.New(back).Server()
	if around != nil {
		handler = around(handler)
	}
	server := httptest.NewServer(handler)
	return server.URL, server.Close, nil
}

// Environment are variables by which AWS' own libraries find credentials for it, and look nowhere else.
func Environment() map[string]string {
	return map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_REGION": "", "AWS_PROFILE": ""}
}
