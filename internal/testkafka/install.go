package testkafka

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
)

const (
	// Version is the Apache Kafka that Real starts.
	Version = "4.3.1"
	// javaNeeded is the oldest Java that it runs on.
	javaNeeded = 17
	// fetchTimeout bounds the first fetch of the jars.
	fetchTimeout = 10 * time.Minute
)

// project is what Maven is asked for: the dependencies with what they need themselves.
const project = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.github.oncesink</groupId>
  <artifactId>testkafka</artifactId>
  <version>1</version>
  <dependencies>%s</dependencies>
  %s
</project>
`

// broker is Apache Kafka, its command-line tools, and a logger that writes to stderr.
var broker = []string{"org.apache.kafka:kafka_2.13:" + Version, "org.apache.kafka:kafka-tools:" + Version, Logger}

// Logger is the artifact that makes a Java program log to stderr.
const Logger = "org.slf4j:slf4j-simple:1.7.36"

// copyDependencies is the goal that brings the jars; pinned, so that every machine runs the same.
const copyDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// installation is a Java and the jars of an Apache Kafka.
type installation struct {
	java, libs string
	options    []string // of the Java, for brokers
}

// Install finds Java and makes sure that the jars are in the user's cache directory,
// where Maven puts them the first time. It returns their directory.
func Install(ctx context.Context) (string, error) {
	in, err := install(ctx)
	if err != nil {
		return "", err
	}
	if _, err = in.checkpoint(ctx); err == nil {
		_, err = in.archived(ctx)
	}
	return in.libs, err
}

func install(ctx context.Context) (installation, error) {
	java, libs, err := Jars(ctx, "kafka-"+Version, broker...)
	return installation{java: java, libs: libs}, err
}

// Jars finds Java and makes sure that artifacts ("group:artifact:version", or with ":type:classifier") are in a folder of
// the user's cache directory, with all they need, and are those whose checksums are pinned. It returns the java and that folder.
func Jars(ctx context.Context, name string, artifacts ...string) (java, libs string, err error) {
	if java, err = findJava(ctx, javas()); err != nil {
		return "", "", err
	}
	cache, err := localserver.CacheDir()
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(cache, name)
	err = localserver.FillOnce(dir, func(tmp string) error {
		if err := fetchJars(ctx, java, tmp, artifacts); err != nil {
			return err
		}
		return verify(pins, name, filepath.Join(tmp, "libs"))
	})
	if err != nil {
		return "", "", fmt.Errorf("get %s: %w", name, err)
	}
	return java, filepath.Join(dir, "libs"), nil
}

// dependencies writes artifacts as Maven reads them. One with a type and a classifier is an archive, which has what it needs in it.
func dependencies(artifacts []string) string {
	var b strings.Builder
	for _, a := range artifacts {
		f := strings.Split(a, ":")
		fmt.Fprintf(&b, "\n    <dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>", f[0], f[1], f[2])
		if len(f) == 5 {
			fmt.Fprintf(&b, "<type>%s</type><classifier>%s</classifier><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>", f[3], f[4])
		}
		b.WriteString("</dependency>")
	}
	return b.String() + "\n  "
}

// command returns a run of a class of the jars.
func (in installation) command(ctx context.Context, heap, class string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, in.java, slices.Concat([]string{
		"-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", // quick to start, and small
	}, in.options, []string{
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-cp", filepath.Join(in.libs, "*"), class,
	}, args)...)
	return cmd
}

// checkpointName is the file in which a storage that was formatted has the levels of all features.
const checkpointName = "bootstrap.checkpoint"

// checkpoint returns that file of this version. Kafka writes it once, into the user's cache directory: its Java takes a second of a
// processor. A storage without it would have the level of the metadata alone, and none of the new protocol of groups.
func (in installation) checkpoint(ctx context.Context) ([]byte, error) {
	cache, err := localserver.CacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "kafka-"+Version+"-storage")
	err = localserver.FillOnce(dir, func(tmp string) error {
		properties := filepath.Join(tmp, "server.properties")
		settings := "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9093\n" +
			"listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\ncontroller.listener.names=CONTROLLER\nlog.dirs=" + tmp + "\n"
		if err := os.WriteFile(properties, []byte(settings), 0o644); err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
		if out, err := in.command(ctx, "128m", "kafka.tools.StorageTool", "format", "-t", newUUID(), "-c", properties).CombinedOutput(); err != nil {
			return fmt.Errorf("format storage: %w\n%s", err, localserver.LastLines(out))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("format a storage of Kafka: %w", err)
	}
	return os.ReadFile(filepath.Join(dir, checkpointName))
}

// javas returns where a java may be: JAVA_HOME's, the PATH's, and those where Linux distributions keep them.
func javas() []string {
	var paths []string
	if home := os.Getenv("JAVA_HOME"); home != "" {
		paths = append(paths, filepath.Join(home, "bin", "java"))
	}
	if path, err := exec.LookPath("java"); err == nil {
		paths = append(paths, path)
	}
	found, _ := filepath.Glob("/usr/lib/jvm/*/bin/java")
	return append(paths, found...)
}

// findJava returns the first java that is new enough.
func findJava(ctx context.Context, paths []string) (string, error) {
	var why []string
	for _, path := range paths {
		version, err := javaVersion(ctx, path)
		switch {
		case err != nil:
			why = append(why, fmt.Sprintf("%s: %v", path, err))
		case version < javaNeeded:
			why = append(why, fmt.Sprintf("%s is version %d", path, version))
		default:
			return path, nil
		}
	}
	if len(why) == 0 {
		why = []string{"no java in JAVA_HOME and PATH"}
	}
	return "", fmt.Errorf("find Java %d or newer, which Apache Kafka runs on: %s; install it (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME", javaNeeded, strings.Join(why, "; "))
}

var javaVersionPattern = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// javaVersion returns the feature version of a java: 17 for `openjdk version "17.0.15"`, 8 for "1.8.0_392".
func javaVersion(ctx context.Context, path string) (int, error) {
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return 0, err
	}
	m := javaVersionPattern.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("version not understood: %.80s", out)
	}
	return strconv.Atoi(string(m[1]))
}

// fetchJars lets Maven copy the jars into dir/libs.
func fetchJars(ctx context.Context, java, dir string, artifacts []string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("the jars are not in the cache yet and there is no Maven to fetch them: install it (Debian: apt-get install maven)")
	}
	pom := filepath.Join(dir, "pom.xml")
	if err := os.WriteFile(pom, fmt.Appendf(nil, project, dependencies(artifacts), mirror(os.Getenv("ONCESINK_MAVEN_REPOSITORY"))), 0o644); err != nil {
		return fmt.Errorf("write project: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", pom, copyDependencies,
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "libs"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAVEN_OPTS="+strings.TrimSpace(os.Getenv("MAVEN_OPTS")+" "+proxyOptions()))
	if home, err := filepath.EvalSymlinks(java); err == nil {
		// The Java that was found new enough, not another one of the PATH.
		cmd.Env = append(cmd.Env, "JAVA_HOME="+filepath.Dir(filepath.Dir(home)))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch the jars with Maven, from Maven Central or the mirror of it that ONCESINK_MAVEN_REPOSITORY names: %w; once it can be reached, try again\n%s",
			errors.Join(err, ctx.Err()), localserver.LastLines(out))
	}
	return nil
}

// mirror makes Maven ask another repository in place of Maven Central.
func mirror(base string) string {
	if base == "" {
		return ""
	}
	repository := "<id>central</id><url>" + strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(base) + "</url>"
	return "<repositories><repository>" + repository + "</repository></repositories>" +
		"<pluginRepositories><pluginRepository>" + repository + "</pluginRepository></pluginRepositories>"
}

// proxyOptions tells Java what HTTPS_PROXY tells everybody else.
func proxyOptions() string {
	value := os.Getenv("HTTPS_PROXY")
	if value == "" {
		value = os.Getenv("https_proxy")
	}
	u, err := url.Parse(value)
	if value == "" || err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return "-Dhttps.proxyHost=" + u.Hostname() + " -Dhttps.proxyPort=" + port
}
