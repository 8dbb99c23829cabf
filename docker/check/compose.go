package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
)

// ours is the image that the Dockerfile makes.
const ours = "breakdown:local"

// checkCompose loads the compose file with the library of `docker compose` (schema, interpolation, references) and holds
// it to the image and to the house's rules.
func checkCompose(ctx context.Context, root string, made image, known *facts, wrong *findings) {
	var project *types.Project
	// Any provider alone will do, and commands such as `down` must work without secrets.
	for _, env := range [][]string{{}, {"GITHUB_WEBHOOK_SECRET=g"}, {"JIRA_WEBHOOK_SECRET=j"}, {"GITHUB_WEBHOOK_SECRET=g", "JIRA_WEBHOOK_SECRET=j"}} {
		loaded, err := load(ctx, root, env)
		if err != nil {
			wrong.add("docker/compose.yaml with %v: %v", env, err)
			return
		}
		for _, service := range loaded.Services {
			if given, asked := service.Environment["GIVEN"]; asked {
				known.add("given", service.Name, strings.Join(env, "+"), value(given))
			}
		}
		project = loaded
	}
	builds := 0
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		checkService(service, project, made, known, wrong)
		if service.Build != nil {
			builds++
			dockerfile := filepath.Join(service.Build.Context, service.Build.Dockerfile)
			if want := filepath.Join(root, "docker", "Dockerfile"); !sameFile(dockerfile, want) || !sameFile(service.Build.Context, root) {
				wrong.add("docker/compose.yaml: %s builds %s in %s", name, dockerfile, service.Build.Context)
			}
		}
	}
	if builds != 1 {
		wrong.add("docker/compose.yaml: %d services build; one does, for all", builds)
	}
	variables, err := interpolated(ctx, root)
	if err != nil {
		wrong.add("docker/compose.yaml: %v", err)
	}
	for _, name := range variables {
		known.add("variable", "docker/compose.yaml", name)
	}
}

func options(root string, env []string) (*cli.ProjectOptions, error) {
	dir := filepath.Join(root, "docker")
	return cli.NewProjectOptions([]string{filepath.Join(dir, "compose.yaml")},
		cli.WithWorkingDirectory(dir), cli.WithEnv(env), cli.WithResolvedPaths(true))
}

func load(ctx context.Context, root string, env []string) (*types.Project, error) {
	chosen, err := options(root, env)
	if err != nil {
		return nil, err
	}
	return chosen.LoadProject(ctx)
}

// interpolated are the variables that the file asks its reader's environment for.
func interpolated(ctx context.Context, root string) ([]string, error) {
	chosen, err := options(root, nil)
	if err != nil {
		return nil, err
	}
	if err := cli.WithInterpolation(false)(chosen); err != nil {
		return nil, err
	}
	model, err := chosen.LoadModel(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for name := range template.ExtractVariables(model, template.DefaultPattern) {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}

func checkService(service types.ServiceConfig, project *types.Project, made image, known *facts, wrong *findings) {
	say := func(format string, args ...any) {
		wrong.add("docker/compose.yaml: "+service.Name+": "+format, args...)
	}
	known.add("service", service.Name, service.Image)
	if tagged := regexp.MustCompile(`:(v[0-9]+\.[0-9]+\.[0-9]+|local)$`); !tagged.MatchString(service.Image) {
		say("image %q has no fixed version", service.Image)
	}
	if !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		say("may gain privileges")
	}
	if service.MemLimit == 0 {
		say("has no memory limit")
	}
	for name, dependency := range service.DependsOn {
		other := project.Services[name]
		switch dependency.Condition {
		case types.ServiceConditionHealthy:
			if !probed(other) {
				say("waits for %s to be healthy, which has no health check", name)
			}
		case types.ServiceConditionCompletedSuccessfully:
			if other.Restart != types.RestartPolicyNo {
				say("waits for %s to complete, which is restarted", name)
			}
		default:
			say("waits for %s: %s", name, dependency.Condition)
		}
	}
	for _, port := range service.Ports {
		if port.HostIP != "127.0.0.1" {
			say("publishes %d beyond loopback", port.Target)
		}
		if service.Image == ours && !slices.ContainsFunc(made.ports, func(exposed string) bool { return exposed == portText(port) }) {
			say("publishes %s, which the image does not expose", portText(port))
		}
	}
	for _, volume := range service.Volumes {
		if volume.Type == types.VolumeTypeBind {
			info, err := os.Stat(volume.Source)
			if err != nil || info.Mode().Perm()&0o004 == 0 {
				say("mounts %s, which is not there or not readable by others", volume.Source)
			}
		}
	}
	if service.Image != ours {
		return
	}
	if !service.ReadOnly || !slices.Contains(service.CapDrop, "ALL") {
		say("root file system or capabilities are open")
	}
	for name, text := range service.Environment {
		if name != "GIVEN" {
			known.add("variable", "docker/compose.yaml, "+service.Name, name)
			checkAddress(name, value(text), project, made, say)
		}
	}
	if len(service.Entrypoint) > 0 {
		known.add("shell", service.Name, strings.Join(service.Command, " "))
		return
	}
	known.add(append([]string{"command", service.Name}, service.Command...)...)
	if !probed(service) || len(service.HealthCheck.Test) != 3 || service.HealthCheck.Test[1] != "breakdown-health" {
		say("has no health check of ours")
	} else {
		known.add("probe", service.Name, service.HealthCheck.Test[2])
	}
	if service.Restart != types.RestartPolicyUnlessStopped {
		say("is not restarted")
	}
}

// checkAddress: an address on the compose network names a service of it, and a port that the service listens on.
func checkAddress(name, text string, project *types.Project, made image, say func(string, ...any)) {
	if name != "REDPANDA_BROKERS" && name != "CALENDAR_API_BASE" {
		return
	}
	if !strings.Contains(text, "://") {
		text = "kafka://" + text
	}
	address, err := url.Parse(text)
	if err != nil {
		say("%s: %v", name, err)
		return
	}
	service, exists := project.Services[address.Hostname()]
	if !exists {
		say("%s: no service %s", name, address.Hostname())
		return
	}
	listens := slices.ContainsFunc(service.Command, func(word string) bool {
		return strings.Contains(word, "://0.0.0.0:"+address.Port())
	})
	if service.Image == ours {
		listens = slices.Contains(made.ports, address.Port())
	}
	if !listens {
		say("%s: %s does not listen on %s", name, address.Hostname(), address.Port())
	}
}

func probed(service types.ServiceConfig) bool {
	return service.HealthCheck != nil && !service.HealthCheck.Disable
}

func portText(port types.ServicePortConfig) string {
	return strconv.FormatUint(uint64(port.Target), 10)
}

func value(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}
