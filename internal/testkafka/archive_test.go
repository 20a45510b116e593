package testkafka

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Java takes the archive that a broker left, and says so where it may not go without.
func TestArchived(t *testing.T) {
	in, err := install(t.Context())
	if err == nil {
		in, err = in.archived(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-XX:+UseSerialGC", "-Xshare:on"}, in.options...)
	out, err := exec.CommandContext(t.Context(), in.java, append(args, "-cp", filepath.Join(in.libs, "*"), "-version")...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
