// Served as /js/iframeResizer.min.js: sizes the payment frame to its content. Only the frame itself is listened to.
(function () {
  'use strict';
  window.iFrameResize = function (options, selector) {
    var frames = document.querySelectorAll(selector || 'iframe');
    window.addEventListener('message', function (event) {
      var height = event.data && event.data.paytrSandboxHeight;
      if (typeof height !== 'number' || !(height > 0 && height < 20000)) return;
      frames.forEach(function (frame) {
        if (frame.contentWindow === event.source) frame.style.height = Math.ceil(height) + 'px';
      });
    });
    frames.forEach(function (frame) {
      if (frame.contentWindow) frame.contentWindow.postMessage({ paytrSandboxAsk: true }, '*');
    });
    return Array.prototype.slice.call(frames);
  };
})();
