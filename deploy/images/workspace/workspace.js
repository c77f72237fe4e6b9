"use strict"
// Start code-server in this one process. Its own command starts a second Node process, which doubles the time to
// the first answer; this calls what that second process would call, and gives up its relaunch and log files.
//
// Environment: PORT (8080), WORKSPACE_FOLDER (the folder the editor opens, ~/project).
const fs = require("node:fs")
const os = require("node:os")
const path = require("node:path")

const codeServer = path.join(__dirname, "node_modules", "code-server", "out", "node")
const profile = path.join(__dirname, "profile")

/** Copy the default profile and shell files into a home that has none; a person's own files are never touched. */
function prepareHome(home) {
  for (const source of ["/etc/skel", profile]) {
    for (const name of fs.readdirSync(source, { recursive: true })) {
      const from = path.join(source, name)
      const to = path.join(home, name)
      if (!fs.statSync(from).isFile() || fs.existsSync(to)) continue
      fs.mkdirSync(path.dirname(to), { recursive: true })
      fs.copyFileSync(from, to, fs.constants.COPYFILE_EXCL)
    }
  }
}

async function start() {
  const home = os.homedir()
  const folder = process.env.WORKSPACE_FOLDER || path.join(home, "project")
  try {
    if (!fs.existsSync(path.join(home, ".local/share/code-server/User/settings.json"))) prepareHome(home)
    fs.mkdirSync(folder, { recursive: true })
  } catch (error) {
    // A full disk must not keep its owner from the files that fill it.
    console.error(`home not prepared: ${error.message}`)
  }
  const { parse, setDefaults } = require(path.join(codeServer, "cli"))
  const { runCodeServer } = require(path.join(codeServer, "main"))
  // Set only now: with it set earlier, code-server takes itself for its own child; without it, the VS Code bundle
  // starts a second server.
  process.env.CODE_SERVER_PARENT_PID = String(process.pid)
  const args = await setDefaults(
    parse([
      "--auth=none", // who may come in is decided at the front door
      `--bind-addr=0.0.0.0:${process.env.PORT || "8080"}`,
      "--disable-telemetry", "--disable-update-check", "--disable-getting-started-override",
      "--disable-workspace-trust", "--app-name=YouAreCoder", folder,
    ]),
  )
  const server = await runCodeServer(args)
  let stopping = false
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      if (stopping) return
      stopping = true
      setTimeout(() => process.exit(0), 2000).unref()
      Promise.resolve(server.dispose()).catch(() => {}).then(() => process.exit(0))
    })
  }
  return server
}

module.exports = { start }
if (require.main === module) {
  start().catch((error) => {
    console.error(error)
    process.exit(1)
  })
}
